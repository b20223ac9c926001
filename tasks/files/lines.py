"""Lines and numbers of a corpus, any of which is read without the others: there are too many for memory."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Write ``lines``, and beside them where each one ends."""
    end = 0
    with open(path, "wb") as file, open(_ends(path), "wb") as ends:
        for line in lines:
            end += file.write(line + b"\n")
            ends.write(np.int64(end).tobytes())


class Lines:
    """What ``write_lines`` wrote; only what is asked for is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ends: NDArray[np.int64] = open_numbers(_ends(path), np.int64)
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> bytes:
        """The line with this number, from 0 on."""
        start = int(self._ends[number - 1]) if number else 0
        # Unlike `seek` and `read`, at once: threads and forked processes share the file.
        return os.pread(self._file, int(self._ends[number]) - start, start)

    def __iter__(self) -> Iterator[bytes]:
        with open(self._path, "rb") as file:
            yield from file


def open_numbers(path: Path, kind: Any) -> NDArray[Any]:
    """The numbers of ``kind`` in a file, which stay there; they can be read only."""
    # There is nothing to map in an empty file.
    return np.memmap(path, kind, mode="r") if path.stat().st_size else np.zeros(0, kind)


def _ends(path: Path) -> Path:
    return path.with_name(f"{path.name}.ends")
