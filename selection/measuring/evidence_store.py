"""Measurements kept on disk, so that nothing is measured twice and interrupted work can continue."""

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
    """Losses and errors of one subnet on each utterance of a sample. Shapes: N utterances."""

    losses_N: NDArray[np.float64]
    """CTC loss, summed over frames."""
    errors_N2: NDArray[np.int64] | None
    """Word errors and character errors; None if not asked for."""
    seconds: float
    """Computing time: the subnet's share of the walk in which it was scored."""


class EvidenceStore:
    """An SQLite file of measurements. Their ``context`` names the network and the data."""

    def __init__(self, path: Path | None) -> None:
        """Open the file at ``path``, or a store in memory. Raises ``RunError`` if it is not such a file."""
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
        """The stored results of ``subnets`` on ``num`` utterances, without damaged ones and, if
        ``with_errors``, without those that have no errors.
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
        """Store results by the names of subnets; errors join losses that are there, which keep their time."""
        data = [
            (context, name, _blob(j.losses_N), None if j.errors_N2 is None else _blob(j.errors_N2), j.seconds)
            for name, j in rows.items()
        ]
        with self._connection:
            self._connection.executemany(
                "INSERT INTO judged VALUES (?, ?, ?, ?, ?) ON CONFLICT (context, subnet) "
                "DO UPDATE SET losses = excluded.losses, errors = excluded.errors",
                data,
            )

    def fact(
        self, context: str, name: str, shape: tuple[int | None, ...]
    ) -> tuple[NDArray[np.float64], float] | None:
        """A stored array and the seconds that it took to measure; None if there is none of this ``shape``,
        where a length of None matches any length.
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
        """Store an array and the seconds that it took to measure."""
        row = (context, name, _blob(value), seconds)
        with self._connection:
            self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", row)


def _blob(array: NDArray[np.float64] | NDArray[np.int64]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _array(blob: object, shape: tuple[int | None, ...], kind: type = np.float64) -> Any:
    """The array in ``blob``; None if it holds something else."""
    if not isinstance(blob, bytes):
        return None
    try:
        array = np.lib.format.read_array(io.BytesIO(blob), allow_pickle=False)
    except Exception:  # on foreign bytes, NumPy raises many kinds of errors
        return None
    fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
    return array if fits and array.dtype == kind and not np.isnan(array).any() else None


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
