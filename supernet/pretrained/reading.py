"""Recognition and reading of checkpoints of any kind."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from supernet.errors import UserError
from supernet.pretrained import huggingface, nemo
from supernet.pretrained.checkpoint import Checkpoint
from supernet.pretrained.places import CONFIG, is_archive, is_checkpoint
from supernet.system.files import refusal


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, whose tensors are not read yet. Raises ``UserError`` if there is none.

    It is kept until one of its files changes, because a training needs it several times before it starts.
    """
    if not is_checkpoint(path):
        why = refusal(path, "folder") or f"'{path}' has no {CONFIG}"
        raise UserError(
            f"a checkpoint must be a folder as Hugging Face writes them, or a .nemo file, but {why}."
        )
    try:
        files = [path] if is_archive(path) else [file for file in sorted(path.iterdir()) if file.is_file()]
        stats = [(file.name, file.stat()) for file in files]
    except OSError as e:
        raise UserError(f"'{path}' must be readable, but is not: {e.strerror}.") from None
    return _read(path, path.absolute(), tuple((name, x.st_mtime_ns, x.st_size) for name, x in stats))


@lru_cache(maxsize=4)
def _read(path: Path, place: Path, states: tuple[tuple[str, int, int], ...]) -> Checkpoint:
    return nemo.read(path) if is_archive(path) else huggingface.read(path)
