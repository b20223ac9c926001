"""Random access to the lines and numbers of a corpus too large for memory."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Write ``lines``, and beside them the offset at which each one ends."""
    end = 0
    with open(path, "wb") as file, open(_ends(path), "wb") as ends:
        for line in lines:
            end += file.write(line + b"\n")
            ends.write(np.int64(end).tobytes())


class Lines:
    """Lines that ``write_lines`` wrote, each read on access."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ends: NDArray[np.int64] = open_numbers(_ends(path), np.int64)
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> bytes:
        """Read a line by its number, counted from 0."""
        start = int(self._ends[number - 1]) if number else 0
        # Unlike `seek` and `read`, atomic: threads and forked processes share the file.
        return os.pread(self._file, int(self._ends[number]) - start, start)

    def __iter__(self) -> Iterator[bytes]:
        with open(self._path, "rb") as file:
            yield from file


def open_numbers(path: Path, kind: Any) -> NDArray[Any]:
    """Map the numbers of ``kind`` in a file into memory, read-only."""
    # An empty file cannot be mapped.
    return np.memmap(path, kind, mode="r") if path.stat().st_size else np.zeros(0, kind)


def _ends(path: Path) -> Path:
    return path.with_name(f"{path.name}.ends")
