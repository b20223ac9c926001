"""Recognition of checkpoints by their files. Imports nothing heavy."""

from __future__ import annotations

import re
from pathlib import Path

CONFIG = "config.json"
"""Describes a model in a folder as Hugging Face writes it."""
_OWN = ("model.json", "config.yaml")
_FAMILY = re.compile(rb"^model_family\s*:", re.MULTILINE)
"""A key that asset cards have."""


def is_checkpoint(path: Path) -> bool:
    """Whether ``path`` is a checkpoint of another program, and not a folder of this project's."""
    if is_archive(path) or is_card(path):
        return True
    return (path / CONFIG).is_file() and not any((path / name).is_file() for name in _OWN)


def is_archive(path: Path) -> bool:
    """Whether ``path`` is a file as NeMo writes it."""
    return path.suffix == ".nemo" and path.is_file()


def is_card(path: Path) -> bool:
    """Whether ``path`` is an asset card of fairseq2, which names the file of the weights."""
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return False
    with path.open("rb") as opened:
        return _FAMILY.search(opened.read(1 << 16)) is not None
