"""Recognition and reading of checkpoints of any kind."""

from __future__ import annotations

from pathlib import Path

from supernet.errors import UserError
from supernet.pretrained import huggingface, nemo
from supernet.pretrained.checkpoint import Checkpoint
from supernet.pretrained.places import CONFIG, is_archive, is_checkpoint
from supernet.system.files import refusal


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, whose tensors are not read yet. Raises ``UserError`` if there is none."""
    if not is_checkpoint(path):
        why = refusal(path, "folder") or f"'{path}' has no {CONFIG}"
        raise UserError(
            f"a checkpoint must be a folder as Hugging Face writes them, or a .nemo file, but {why}."
        )
    return nemo.read(path) if is_archive(path) else huggingface.read(path)
