"""Locks on folders, and checks of folders from untrusted sources."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from supernet.errors import ArgumentError, UserError

_LOCK = ".lock"


class InUse(ArgumentError):
    """A folder in which another process is training."""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Create ``folder`` if necessary and hold its lock.

    The kernel releases the lock when the process ends, however it ends.

    Raises:
        InUse: Another process holds the lock.
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
    """Check that nothing in ``folder`` leads outside of it, as in a malicious archive.

    Raises:
        UserError: A link leads out of the folder, or an entry is neither a file nor a folder.
    """
    root = folder.resolve()
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(place, name)
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                continue  # another process is writing
            shown = folder / path.relative_to(root)
            if stat.S_ISLNK(mode) and not _stays(path, root):
                raise UserError(
                    f"'{shown}' must not lead out of '{folder}', but is a link to '{os.readlink(path)}'. "
                    "If this is intended, replace the link by a copy."
                )
            if not (stat.S_ISLNK(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise UserError(f"'{shown}' must be a file or a folder, but is neither.")


def _stays(link: Path, root: Path) -> bool:
    try:
        return link.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a cycle of links
        return False


def check_writable(folder: Path) -> None:
    """Raise ``OSError``, which names it, if no file can be created in ``folder``."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as e:
        e.filename = str(folder)
        raise
