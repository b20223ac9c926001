"""A listing that is slow to read, read once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from tasks.files.members import Member
from tasks.files.problems import Problem
from tasks.listing.entries import Entry, Listed


class Replay:
    """What ``read`` gives; from the second time on out of a temporary file, which goes with this object."""

    def __init__(self, read: Callable[[], Listed]) -> None:
        self._read = read
        self._kept: IO[bytes] | None = None

    def __call__(self) -> Listed:
        return self._first() if self._kept is None else self._again(self._kept.name)

    def _first(self) -> Listed:
        kept = NamedTemporaryFile()  # noqa: SIM115 - it closes, and vanishes, with this object
        for item in self._read():
            kept.write(_as_line(item))
            yield item
        kept.flush()
        self._kept = kept  # only now: a reading that was given up is none

    def _again(self, kept: str) -> Listed:
        with open(kept, "rb") as file:
            yield from map(_from_line, file)


def _as_line(item: Entry | Problem) -> bytes:
    # In ASCII: there may be halves of pairs, which are no UTF-8.
    return json.dumps([type(item).__name__, asdict(item)], default=str).encode("ascii") + b"\n"


def _from_line(line: bytes) -> Entry | Problem:
    kind, values = json.loads(line)
    if kind == Problem.__name__:
        return Problem(**values)
    audio, member = values["audio"], values["member"]
    kinds = {"audio": audio and Path(audio), "member": member and Member(**member)}
    return Entry(**(values | kinds))
