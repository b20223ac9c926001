"""Recognition and reading of checkpoints of any kind."""

from __future__ import annotations

from pathlib import Path

from supernet.checkpoints import huggingface
from supernet.checkpoints.checkpoint import Checkpoint
from supernet.errors import UserError
from supernet.system.files import refusal


def is_checkpoint(path: Path) -> bool:
    """Whether ``path`` is a folder as Hugging Face writes them, and not one of this project's."""
    own = ("model.json", "config.yaml")
    return (path / huggingface.CONFIG).is_file() and not any((path / name).is_file() for name in own)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, whose tensors are not read yet. Raises ``UserError`` if there is none."""
    if not is_checkpoint(path):
        why = refusal(path, "folder") or f"'{path}' has no {huggingface.CONFIG}"
        raise UserError(f"a checkpoint must be a folder as Hugging Face writes them, but {why}.")
    return huggingface.read(path)
