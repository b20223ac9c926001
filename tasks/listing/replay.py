"""Replay of listings that are slow to read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from tasks.files.members import Member
from tasks.files.problems import Problem
from tasks.listing.entries import Entries, Entry


class Replay:
    """Calls ``read`` once and replays its entries from a temporary file, which vanishes with this object."""

    def __init__(self, read: Callable[[], Entries]) -> None:
        self._read = read
        self._kept: IO[bytes] | None = None

    def __call__(self) -> Entries:
        return self._first() if self._kept is None else self._again(self._kept.name)

    def _first(self) -> Entries:
        kept = NamedTemporaryFile()  # noqa: SIM115 - closed and removed with this object
        for item in self._read():
            kept.write(_as_line(item))
            yield item
        kept.flush()
        self._kept = kept  # only now: an abandoned reading does not count

    def _again(self, kept: str) -> Entries:
        with open(kept, "rb") as file:
            yield from map(_from_line, file)


def _as_line(item: Entry | Problem) -> bytes:
    # In ASCII: there may be unpaired surrogates, which UTF-8 cannot encode.
    return json.dumps([type(item).__name__, asdict(item)], default=str).encode("ascii") + b"\n"


def _from_line(line: bytes) -> Entry | Problem:
    kind, values = json.loads(line)
    if kind == Problem.__name__:
        return Problem(**values)
    audio, member = values["audio"], values["member"]
    kinds = {"audio": audio and Path(audio), "member": member and Member(**member)}
    return Entry(**(values | kinds))
