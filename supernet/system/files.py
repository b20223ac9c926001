"""Atomic writes of files and folders, safe names, and safe reading of text, JSON and YAML."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from supernet.errors import UserError

MAX_BYTES = 256 << 20
"""The largest file that is read as a whole; those of real runs are far smaller."""
_MAX_NODES = 1_000_000
_NAME = re.compile(r"\w[\w.,=%+-]{0,199}")


def safe_name(name: str, what: str) -> str:
    """Return ``name`` if it is safe as a part of a file name.

    Args:
        name: A name from a user or a file.
        what: The user's term for it, for messages.

    Raises:
        UserError: The name contains other characters or is too long.
    """
    if _NAME.fullmatch(name) and len(os.fsencode(name)) <= 200:
        return name
    shown = name if len(name) <= 60 else f"{name[:60]}…"
    raise UserError(
        f"`{what}` must be letters, digits and any of _ . , = % + -, starting with a letter or digit, "
        f"but is {shown!r} instead."
    )


def as_name(text: str) -> str:
    """``text`` with characters that ``safe_name`` rejects replaced."""
    return re.sub(r"[^\w.,=%+-]|^\W", "_", text)[:60] or "_"


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary file that replaces ``path`` on success; on failure nothing changes.

    The mode of the file follows the umask, however it is written.
    """
    temporary = _beside(path)
    with _speaking_of(path, temporary):
        lock = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        mode = os.fstat(lock).st_mode
        try:
            _lock(lock)
            yield temporary
            os.chmod(temporary, mode & 0o777)  # some libraries replace the file
            _flush(temporary)
            os.replace(temporary, path)
        finally:
            os.close(lock)
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(folder: Path, *, replaces: bool = True) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``folder`` on success; on failure nothing changes.

    Args:
        folder: The folder to create.
        replaces: Whether to replace an existing folder, or to keep it and discard the new one.
    """
    temporary = _beside(folder)
    with _speaking_of(folder, temporary):
        temporary.mkdir(parents=True)
        lock = os.open(temporary, os.O_RDONLY)
        try:
            _lock(lock)
            yield temporary
            _take_place(temporary, folder, replaces)
        finally:
            os.close(lock)
            shutil.rmtree(temporary, ignore_errors=True)


def _take_place(temporary: Path, folder: Path, replaces: bool) -> None:
    old = _beside(folder)
    if replaces and folder.exists():
        os.rename(folder, old)
    try:
        os.rename(temporary, folder)
    except OSError:
        if old.exists():
            os.rename(old, folder)
        if replaces or not folder.exists():
            raise
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _speaking_of(path: Path, temporary: Path) -> Iterator[None]:
    """Make errors name the file to be written instead of its temporary file."""
    try:
        yield
    except OSError as e:
        if e.filename == str(temporary):
            e.filename, e.filename2 = str(path), None
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file atomically; text is encoded in UTF-8, with escapes for surrogates."""
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, content: object) -> None:
    """Write indented JSON atomically."""
    write_whole(path, json.dumps(content, indent=1) + "\n")


def _beside(path: Path) -> Path:
    """A unique hidden name beside ``path``; removes temporary files that killed processes left behind."""
    for left in path.parent.glob(f".{_escaped(path.name)}.????????.partial"):
        if is_abandoned(left):
            with contextlib.suppress(OSError):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _lock(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # some network file systems have no locks
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_abandoned(path: Path) -> bool:
    """Whether no process holds the lock of a temporary file; the kernel releases it with the process."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _flush(path: Path) -> None:
    """Flush the contents to disk before the file is renamed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refusal(path: Path, wanted: Literal["file", "folder"] = "file") -> str | None:
    """The reason, to follow "but", why there is no file or folder at ``path``; None if there is one."""
    if not path.exists():
        return f"there is no such {wanted}: '{path}'"
    if path.is_dir() != (wanted == "folder"):
        return f"'{path}' is a {'folder' if wanted == 'file' else 'file'}"
    return None


def read_text(path: Path) -> str:
    """Read UTF-8 text with or without a byte order mark, with line ends normalized to ``\\n``.

    Raises:
        UserError: The file cannot be read, is too large, or is not text.
    """
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise UserError(f"'{path}' must be at most {MAX_BYTES >> 20} MiB, but has {size >> 20} MiB.")
        return _decoded(path.read_bytes(), path)
    except FileNotFoundError:
        raise UserError(f"'{path}' must exist, but there is no such file.") from None
    except IsADirectoryError:
        raise UserError(f"'{path}' must be a file, but is a folder.") from None
    except OSError as e:
        raise UserError(f"'{path}' must be readable, but is not: {e.strerror}.") from None


def _decoded(content: bytes, path: Path) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = None
    if text is None or "\0" in text:
        but = f"is {other}: save it as UTF-8" if (other := other_encoding(content)) else "is not"
        raise UserError(f"'{path}' must be text in UTF-8, but {but}.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def other_encoding(content: bytes) -> str | None:
    """The encoding of text that starts with ``content`` if it is recognizably not UTF-8."""
    marks = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32"}
    marks |= {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}
    found = next((name for mark, name in marks.items() if content.startswith(mark)), None)
    # In UTF-16, one byte of a Latin letter is zero.
    return found or ("UTF-16" if content[:2].count(0) == 1 and content[2:4].count(0) == 1 else None)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises ``UserError`` if the file is anything else."""
    return parse_json(read_text(path), str(path))


def parse_json(text: str, where: str) -> dict[str, Any]:
    """Parse a JSON object; ``where`` names the source in messages. Raises ``UserError``."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise UserError(f"'{where}' must be JSON, but cannot be parsed: {_one_line(e)}.") from None
    return _mapping(data, where, "an object")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; an empty file is an empty mapping. Raises ``UserError`` for anything else."""
    return parse_yaml(read_text(path), str(path))


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Parse a YAML mapping; ``where`` names the source in messages. Raises ``UserError``."""
    import yaml  # devices do without it

    try:
        data = yaml.safe_load(text)
        size = _count(data)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as e:
        raise UserError(f"'{where}' must be YAML, but cannot be parsed: {_one_line(e)}.") from None
    if size > _MAX_NODES:
        raise UserError(f"'{where}' must hold settings, but its references expand to millions of values.")
    return {} if data is None else _mapping(data, where, "a mapping")


def _count(data: object, so_far: int = 0) -> int:
    """The number of values with all references expanded, counted up to just above the limit."""
    so_far += 1
    inner = [*data.keys(), *data.values()] if isinstance(data, dict) else data
    for value in inner if isinstance(inner, list) else ():
        if so_far > _MAX_NODES:
            break
        so_far = _count(value, so_far)
    return so_far


def _mapping(data: object, where: str, what: str) -> dict[str, Any]:
    if isinstance(data, dict):
        return data
    raise UserError(f"'{where}' must hold {what}, but holds {_KINDS.get(type(data), 'a value')} instead.")


_KINDS = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "a truth value"}


def _one_line(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    mark = getattr(error, "problem_mark", None)  # of YAML
    if mark is not None:
        return f"{getattr(error, 'problem', '')} in line {mark.line + 1}"
    return " ".join(str(error).split())[:300].rstrip(".")
