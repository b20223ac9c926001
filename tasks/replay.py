"""A listing that is slow to read, read once."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from tempfile import NamedTemporaryFile
from typing import IO

from tasks.entries import Listed


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
            pickle.dump(item, kept)
            yield item
        kept.flush()
        self._kept = kept  # only now: a reading that was given up is none

    def _again(self, kept: str) -> Listed:
        with open(kept, "rb") as file:
            while file.peek(1):
                yield pickle.load(file)
