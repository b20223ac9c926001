"""Members of uncompressed tar files, each read by its offset as if it were a separate file."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from tasks.files.problems import Unusable

MEMBER = "member"
"""The custom field of a cut whose audio is a member of its recording's tar file."""

_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}

_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True)
class Member:
    """The location of a member's content: ``size`` bytes from ``offset`` on."""

    name: str
    offset: int
    size: int
    header: str
    """Hash of the header block before the content, which detects that the tar has been rewritten."""


def members(file: BinaryIO) -> Iterator[Member | Unusable]:
    """Yield the members of a tar in order, and an ``Unusable`` for everything else but folders.

    Only headers are read, and none is kept. A truncated tar ends with an ``Unusable``.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            empty = True
            if tar.offset == 0:  # no member: Python 3.10 would seek to before the first byte
                file.seek(0)
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # or it would keep every one
                empty = False
                if not info.isdir():
                    yield _member(info, file)
            yield from _end(file, tar.offset, empty)
    # A malformed tar makes tarfile also raise exceptions of number and string conversions.
    except (tarfile.TarError, OSError, ValueError, ArithmeticError) as error:
        yield Unusable("unreadable", _why(file, error))


def read_member(file: BinaryIO, member: Member) -> bytes:
    """Read the content of ``member`` of the tar ``file``. Raises ``Unusable`` if it is not there."""
    check_member(file, member)
    file.seek(member.offset)
    return file.read(member.size)


def check_member(file: BinaryIO, member: Member) -> None:
    """Raise ``Unusable`` unless ``member`` is where it was when the tar ``file`` was listed."""
    first, end, size = member.offset, member.offset + member.size, os.fstat(file.fileno()).st_size
    if not _BLOCK <= first <= end <= size:
        raise Unusable("unreadable", f"bytes {first} to {end} must lie in the tar, but it has only {size}")
    if _header(file, first) != member.header:
        raise Unusable(
            "unreadable", f"{member.name!r} must lie at byte {first} of the tar, but the tar has changed"
        )


class MemberFile(io.RawIOBase):
    """A seekable file with the content of a member of the tar ``file``."""

    def __init__(self, file: BinaryIO, member: Member) -> None:
        check_member(file, member)
        self._file, self._member, self._position = file, member, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = max(0, (0, self._position, self._member.size)[whence] + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        left = max(0, self._member.size - self._position)
        wanted, place = min(len(buffer), left), self._member.offset + self._position
        found = os.pread(self._file.fileno(), wanted, place)
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)


def _member(info: tarfile.TarInfo, file: BinaryIO) -> Member | Unusable:
    if not info.isreg() or info.issparse():
        what = (
            f"{info.name!r} must be a regular file, but is a link or the like: pack with `tar --dereference`"
        )
        return Unusable("unreadable", f"{what} `--hard-dereference`")
    return Member(info.name, info.offset_data, info.size, _header(file, info.offset_data))


def _header(file: BinaryIO, offset: int) -> str:
    block = os.pread(file.fileno(), _BLOCK, offset - _BLOCK)
    return hashlib.blake2b(block, digest_size=6).hexdigest()


def _end(file: BinaryIO, offset: int, empty: bool) -> Iterator[Unusable]:
    """Check the block after the last member: tarfile takes anything that is not a header for the end."""
    block = os.pread(file.fileno(), _BLOCK, offset)
    if len(block) < _BLOCK or block.strip(b"\0"):
        yield Unusable("unreadable", f"the tar is truncated or damaged at byte {offset}")
    elif empty:
        yield Unusable("zero length", "the tar is empty")


def _why(file: BinaryIO, error: Exception) -> str:
    head = os.pread(file.fileno(), 8, 0)
    if not head:
        return "must be a tar, but is an empty file"
    for magic, name in _COMPRESSIONS.items():
        if head.startswith(magic):
            return (
                f"must be an uncompressed tar, but is compressed with {name}: decompress it with `{name} -d`"
            )
    return f"the tar is truncated or damaged: {error}"
