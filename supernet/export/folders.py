"""Folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from supernet.run import RunError


def check_free(folder: Path, force: bool) -> None:
    """Raise :class:`~supernet.run.RunError` where ``folder`` may not be written."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"`--out` must be a folder, but '{folder}' is a file.")
    if folder.exists() and not force:
        raise RunError(
            f"'{folder}' must not exist yet, but does. `--force` replaces it, `--out` names another one."
        )


@contextlib.contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A temporary folder beside ``folder`` that takes its place, and that of an older one, if all goes well;
    else nothing has changed.
    """
    temporary, old = (folder.with_name(f".{folder.name}.{state}") for state in ("new", "old"))
    shutil.rmtree(temporary, ignore_errors=True)  # left by a kill
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
