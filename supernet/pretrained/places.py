"""Recognition of checkpoints by their files. Imports nothing heavy, unless a plug-in has to be asked."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

from supernet.settings.names import GROUPS

CONFIG = "config.json"
"""Describes a model in a folder as Hugging Face writes it."""
CARD_FAMILY = "wav2vec2"
"""The family of encoders of an asset card of fairseq2."""
_OWN = ("model.json", "config.yaml")
_FAMILY = re.compile(rb"^model_family\s*:", re.MULTILINE)
"""A key that asset cards have."""


def is_checkpoint(path: Path) -> bool:
    """Whether ``path`` is a checkpoint of another program, and not a folder of this project's."""
    is_folder = (path / CONFIG).is_file() and not _is_own(path)
    return is_folder or is_archive(path) or reader_of(path) is not None


def reader_of(path: Path) -> str | None:
    """The family of encoders that reads the checkpoint ``path`` itself: that of asset cards, or a plug-in's.
    None: it is a folder of Hugging Face, a file of NeMo, or no checkpoint.
    """
    if is_card(path):
        return CARD_FAMILY
    if not path.exists() or is_archive(path) or (path / CONFIG).is_file() or _is_own(path):
        return None
    return next((name for name in _plugin_families() if _reads(name, path)), None)


def is_archive(path: Path) -> bool:
    """Whether ``path`` is a file as NeMo writes it."""
    return path.suffix == ".nemo" and path.is_file()


def is_card(path: Path) -> bool:
    """Whether ``path`` is an asset card of fairseq2, which names the file of the weights."""
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return False
    with path.open("rb") as opened:
        return _FAMILY.search(opened.read(1 << 16)) is not None


def _is_own(path: Path) -> bool:
    return any((path / name).is_file() for name in _OWN)


def _plugin_families() -> list[str]:
    """The families of encoders of other packages."""
    entries = entry_points(group=GROUPS["encoder"])
    return sorted(entry.name for entry in entries if not entry.module.startswith("supernet."))


def _reads(family: str, path: Path) -> bool:
    from supernet.settings.plugins import find_plugin

    try:
        return bool(find_plugin("encoder", family).reads(path))
    except ValueError:  # a package that cannot be imported reads nothing
        return False
