"""The user's cache: folders that are complete or absent, whoever is interrupted and however many processes
make them. Imports nothing heavy.
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

from supernet.errors import UserError
from supernet.system.files import is_abandoned, whole_folder

VARIABLE = "SUPERNET_CACHE"
"""The environment variable that names the cache."""


def default_folder() -> Path:
    """Where corpora and features are kept, from whatever folder a command is given: ``$SUPERNET_CACHE``, or
    else ``supernet`` in ``$XDG_CACHE_HOME``, which is ``~/.cache`` where it is not set (XDG Base Directory
    Specification 0.8). Raises ``UserError`` where there is no home.
    """
    if own := os.environ.get(VARIABLE):
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "supernet"
    try:
        return Path.home() / ".cache" / "supernet"
    except RuntimeError:
        raise UserError(
            f"`task.cache` must be a folder, but there is no home to keep it in. Set it, or {VARIABLE}."
        ) from None


def check_writable(cache: Path) -> None:
    """Make ``cache``. Raises ``UserError`` where nothing can be written there."""
    if why := why_not_writable(cache):
        raise UserError(
            f"`task.cache` must be a folder for corpora and features, but '{cache}' is none: {why}. "
            f"{ELSEWHERE}"
        )


def why_not_writable(folder: Path) -> str:
    """Why nothing can be written into ``folder``, which is made where it is missing; empty where it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return "" if os.access(folder, os.W_OK | os.X_OK) else "no permission to write"
    except OSError as error:
        return error.strerror or str(error)


_LEFT = re.compile(r"\..+\.[0-9a-f]{8}\.(partial|outdated)")
_NEW = 10
"""Seconds."""

ELSEWHERE = f"Choose another folder with --set task.cache=FOLDER or the environment variable {VARIABLE}."
"""What to do where the cache cannot be written."""

ProgressCallback = Callable[[str, int, int], None]
"""As in ``supernet.task``."""


def _silent(what: str, done: int, total: int) -> None:
    """A report that nobody reads."""


def make_once(folder: Path, build: Callable[[Path], None], report: ProgressCallback = _silent) -> None:
    """Have ``build`` fill ``folder`` unless it is there already.

    It is filled under another name beside its place and renamed when complete. Of several processes one makes
    it and the others wait; where the file system knows no locks, the first to finish wins.

    Raises ``UserError`` where nothing may be written there.
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
    """Remove what killed processes have left in ``cache``, under whatever name: another corpus now is another
    folder. What is being made is locked; that it may not be yet is why it must not be new.
    """
    for left in filter(lambda path: _LEFT.fullmatch(path.name), cache.iterdir()):
        with suppress(OSError):
            if left.is_dir() and time.time() - left.stat().st_mtime > _NEW and is_abandoned(left):
                shutil.rmtree(left)


@contextmanager
def _one_at_a_time(lock: Path, report: ProgressCallback) -> Iterator[None]:
    """While another process is inside, wait; the kernel lets go of what a killed process held."""
    held = _acquire(lock, report)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # before it is let go: whoever waits looks whether it is still there
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
        except OSError:  # some network file systems know no locks
            return file
        except BaseException:  # Ctrl-C while waiting
            os.close(file)
            raise
        if lock.exists() and os.path.samestat(os.fstat(file), lock.stat()):
            return file
        os.close(file)


def discard(folder: Path, is_outdated: Callable[[Path], bool]) -> None:
    """Remove ``folder`` if it is outdated. Of several processes none removes what another has made anew."""
    if not is_outdated(folder):
        return
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.outdated")
    try:
        os.rename(folder, aside)
    except FileNotFoundError:
        return  # another process was quicker
    if not is_outdated(aside):
        _rename(aside, folder)
    shutil.rmtree(aside, ignore_errors=True)


def _rename(partial: Path, folder: Path) -> None:
    try:
        os.rename(partial, folder)
    except OSError:
        if not folder.exists():
            raise


def digest(content: object) -> str:
    """A short name for JSON-like ``content``."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
