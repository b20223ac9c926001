"""Folders that one training at a time writes in, and that may be a stranger's."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from supernet.errors import ArgumentError, UserError

_LOCK = ".lock"


class InUse(ArgumentError):
    """Another process trains in a folder."""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep ``folder``, which is made if need be, from every other process that asks for it.

    The kernel ends it with the process, however that ends. Raises ``InUse``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(
                ["folder"],
                f"'{folder}' must be used by one training at a time, but another process is training in it. "
                "Wait for it to end, or choose another `folder`.",
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(lock)


def check_closed(folder: Path) -> None:
    """See to it that whatever is read or written under ``folder`` lies there.

    Raises ``UserError`` where a link leads out of it, or something is neither file nor
    folder: an archive unpacked may have brought it.
    """
    root = folder.resolve()
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(place, name)
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                continue  # somebody is writing
            shown = folder / path.relative_to(root)
            if stat.S_ISLNK(mode) and not _stays(path, root):
                raise UserError(
                    f"'{shown}' must not lead out of '{folder}', but is a link to '{os.readlink(path)}'. "
                    "If that is meant, put a copy in its place."
                )
            if not (stat.S_ISLNK(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise UserError(f"'{shown}' must be a file or a folder, but is neither.")


def _stays(link: Path, root: Path) -> bool:
    try:
        return link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # it leads in a circle
        return False
