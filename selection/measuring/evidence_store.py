"""What was measured, kept on disk, so that nothing is measured twice and interrupted work continues."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernet.runs.run import RunError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS judged (
    context TEXT, subnet TEXT, losses BLOB, errors BLOB, seconds REAL, PRIMARY KEY (context, subnet)
);
CREATE TABLE IF NOT EXISTS facts (
    context TEXT, name TEXT, value BLOB, seconds REAL, PRIMARY KEY (context, name)
);
"""
_BATCH = 500
"""Subnets per query: SQLite limits the number of parameters."""


@dataclass(frozen=True)
class Judged:
    """What one subnet does to each utterance of a sample. Shapes: N utterances."""

    losses_N: NDArray[np.float64]
    """CTC loss, summed over frames."""
    errors_N2: NDArray[np.int64] | None
    """Word errors and character errors; None where nobody asked."""
    seconds: float
    """Computing time: the subnet's share of the walk that scored it."""


class EvidenceStore:
    """An SQLite file. ``context`` says which network and data a number belongs to."""

    def __init__(self, path: Path | None) -> None:
        """``path`` None: in memory alone. Raises ``RunError`` where the file is something else."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._path = path
            self._connection = sqlite3.connect(":memory:" if path is None else path)
            self._connection.executescript(_SCHEMA)
        except sqlite3.DatabaseError as e:
            raise RunError(
                f"'{path}' must be this program's own file, but is not ({e}). Delete it."
            ) from None

    def judged(
        self, context: str, subnets: Iterable[str], num: int, *, with_errors: bool
    ) -> dict[str, Judged]:
        """What is known of ``subnets`` on ``num`` utterances; those without error rates are left out where
        these are wanted, and so is what is damaged.
        """
        names, found = list(subnets), dict[str, Judged]()
        for start in range(0, len(names), _BATCH):
            some = names[start : start + _BATCH]
            query = f"SELECT * FROM judged WHERE context = ? AND subnet IN ({','.join('?' * len(some))})"
            for _, name, losses, errors, seconds in self._rows(query, [context, *some]):
                losses_N, errors_N2 = _array(losses, (num,)), _array(errors, (num, 2), np.int64)
                if losses_N is not None and (errors_N2 is not None or not with_errors):
                    found[name] = Judged(losses_N, errors_N2, _seconds(seconds))
        return found

    def add_judged(self, context: str, rows: Mapping[str, Judged]) -> None:
        data = [
            (context, name, _blob(j.losses_N), None if j.errors_N2 is None else _blob(j.errors_N2), j.seconds)
            for name, j in rows.items()
        ]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO judged VALUES (?, ?, ?, ?, ?)", data)

    def fact(
        self, context: str, name: str, shape: tuple[int | None, ...]
    ) -> tuple[NDArray[np.float64], float] | None:
        """An array of ``shape``, with None for any length, that was measured before, and the seconds it took;
        None where there is none such.
        """
        query = "SELECT value, seconds FROM facts WHERE context = ? AND name = ?"
        for value, seconds in self._rows(query, [context, name])[:1]:
            if (array := _array(value, shape)) is not None:
                return array, _seconds(seconds)
        return None

    def _rows(self, query: str, values: Sequence[str]) -> list[Any]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.DatabaseError as e:
            raise RunError(
                f"'{self._path}' must be this program's own file, but is damaged ({e}). Delete it."
            ) from None

    def add_fact(self, context: str, name: str, value: NDArray[np.float64], seconds: float) -> None:
        row = (context, name, _blob(value), seconds)
        with self._connection:
            self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", row)


def _blob(array: NDArray[np.float64] | NDArray[np.int64]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _array(blob: object, shape: tuple[int | None, ...], kind: type = np.float64) -> Any:
    """The array in ``blob``; None where it holds something else."""
    if not isinstance(blob, bytes):
        return None
    try:
        array = np.lib.format.read_array(io.BytesIO(blob), allow_pickle=False)
    except Exception:  # NumPy fails in many ways on bytes that are none of its own
        return None
    fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
    return array if fits and array.dtype == kind and not np.isnan(array).any() else None


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
