"""Recognition of checkpoints by their files. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

CONFIG = "config.json"
"""Describes a model in a folder as Hugging Face writes it."""
_OWN = ("model.json", "config.yaml")


def is_checkpoint(path: Path) -> bool:
    """Whether ``path`` is a checkpoint of another program, and not a folder of this project's."""
    if is_archive(path):
        return True
    return (path / CONFIG).is_file() and not any((path / name).is_file() for name in _OWN)


def is_archive(path: Path) -> bool:
    """Whether ``path`` is a file as NeMo writes it."""
    return path.suffix == ".nemo" and path.is_file()
