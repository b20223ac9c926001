"""What was measured, kept on disk, so that nothing is measured twice and interrupted work continues."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernet.run import RunError

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


class Store:
    """An SQLite file. ``context`` says which network and data a number belongs to."""

    def __init__(self, path: Path | None) -> None:
        """``path`` None: in memory alone. Raises :class:`RunError` where the file is something else."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(":memory:" if path is None else path)
            self._connection.executescript(_SCHEMA)
        except sqlite3.DatabaseError as e:
            raise RunError(
                f"'{path}' must be this program's own file, but is not ({e}). Delete it."
            ) from None

    def judged(self, context: str, subnets: Iterable[str], *, with_errors: bool) -> dict[str, Judged]:
        """What is known of ``subnets``; those without error rates are left out where these are wanted."""
        names, found = list(subnets), dict[str, Judged]()
        for start in range(0, len(names), _BATCH):
            some = names[start : start + _BATCH]
            query = f"SELECT * FROM judged WHERE context = ? AND subnet IN ({','.join('?' * len(some))})"
            for _, name, losses, errors, seconds in self._connection.execute(query, [context, *some]):
                if errors is not None or not with_errors:
                    found[name] = Judged(_array(losses), None if errors is None else _array(errors), seconds)
        return found

    def add_judged(self, context: str, rows: Mapping[str, Judged]) -> None:
        data = [
            (context, name, _blob(j.losses_N), None if j.errors_N2 is None else _blob(j.errors_N2), j.seconds)
            for name, j in rows.items()
        ]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO judged VALUES (?, ?, ?, ?, ?)", data)

    def fact(self, context: str, name: str) -> tuple[NDArray[np.float64], float] | None:
        """An array that was measured before, and the seconds it took."""
        query = "SELECT value, seconds FROM facts WHERE context = ? AND name = ?"
        row = self._connection.execute(query, (context, name)).fetchone()
        return None if row is None else (_array(row[0]), row[1])

    def add_fact(self, context: str, name: str, value: NDArray[np.float64], seconds: float) -> None:
        row = (context, name, _blob(value), seconds)
        with self._connection:
            self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", row)


def _blob(array: NDArray[np.float64] | NDArray[np.int64]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _array(blob: bytes) -> Any:
    return np.load(io.BytesIO(blob), allow_pickle=False)
