"""The user's cache: folders that are either complete or absent, even if processes are interrupted or several
make the same folder. Fast to import.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from supernet.errors import UserError
from supernet.system.cache_folder import VARIABLE
from supernet.system.files import is_abandoned, whole_folder

if TYPE_CHECKING:  # it takes seconds to import
    from supernet.task import ProgressCallback

_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.(partial|outdated)")
_GRACE = 10
"""Age in seconds below which a leftover may be a folder that is not locked yet."""

ELSEWHERE = f"Choose another folder with `task.cache=FOLDER` or the environment variable {VARIABLE}."
"""Advice for a cache that cannot be written to."""


def check_writable(cache: Path) -> None:
    """Make the folder ``cache``. Raises ``UserError`` if it cannot be made or written to."""
    if why := why_not_writable(cache):
        raise UserError(
            f"`task.cache` must be a folder for corpora and features, but '{cache}' cannot be: {why}. "
            f"{ELSEWHERE}"
        )


def why_not_writable(folder: Path) -> str:
    """Make ``folder`` and say why it cannot be written to; empty if it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return "" if os.access(folder, os.W_OK | os.X_OK) else "no permission to write"
    except OSError as error:
        return error.strerror or str(error)


def _silent(what: str, done: int, total: int) -> None:
    """Report nothing."""


def make_once(folder: Path, build: Callable[[Path], None], report: ProgressCallback = _silent) -> None:
    """Make a folder unless it exists.

    It is filled under a temporary name beside its place and renamed when complete. Of several processes, one
    makes it and the others wait; if the file system does not support locks, the first to finish wins.

    Args:
        folder: The folder to make.
        build: Fills the temporary folder.
        report: Called if the process has to wait.

    Raises:
        UserError: If the place is not writable.
    """
    if folder.exists():
        return
    with _may_write(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        with _one_at_a_time(folder.with_name(f".{folder.name}.lock"), report):
            if not folder.exists():
                with whole_folder(folder, replaces=False) as partial:
                    build(partial)


@contextmanager
def _may_write(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        mine = e.filename is not None and Path(os.fsdecode(e.filename)).is_relative_to(place)
        if not mine or e.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise UserError(f"'{place}' must be writable, but is not ({e.strerror}). {ELSEWHERE}") from None


def _sweep(cache: Path) -> None:
    """Remove the leftovers of killed processes from ``cache``, whatever their names: a corpus that has
    changed since has another name. Folders that are being made are locked, or too new.
    """
    for path in filter(lambda path: _LEFTOVER.fullmatch(path.name), cache.iterdir()):
        with suppress(OSError):
            if path.is_dir() and time.time() - path.stat().st_mtime > _GRACE and is_abandoned(path):
                shutil.rmtree(path)


@contextmanager
def _one_at_a_time(lock: Path, report: ProgressCallback) -> Iterator[None]:
    """Wait while another process is inside; the kernel releases the lock of a killed process."""
    held = _acquire(lock, report)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # before the release: waiting processes check whether it still exists
        os.close(held)


def _acquire(lock: Path, report: ProgressCallback) -> int:
    while True:
        file = os.open(lock, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                report("waiting for another process", 0, 0)
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # some network file systems do not support locks
            return file
        except BaseException:  # Ctrl-C while waiting
            os.close(file)
            raise
        if lock.exists() and os.path.samestat(os.fstat(file), lock.stat()):
            return file
        os.close(file)


def discard(folder: Path, is_outdated: Callable[[Path], bool]) -> None:
    """Remove ``folder`` if it is outdated, but not if another process has just made it again."""
    if not is_outdated(folder):
        return
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.outdated")
    try:
        os.rename(folder, aside)
    except FileNotFoundError:
        return  # another process was faster
    if not is_outdated(aside):
        _rename(aside, folder)
    shutil.rmtree(aside, ignore_errors=True)


def _rename(partial: Path, folder: Path) -> None:
    try:
        os.rename(partial, folder)
    except OSError:
        if not folder.exists():
            raise


def file_hash(path: Path) -> str:
    """SHA-256 of the content of a file."""
    sha = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()


def digest(content: object) -> str:
    """Hash JSON-like ``content`` to a short name."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
