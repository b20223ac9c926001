"""Rows of batches divided among passes by their shares: every pass gets what it is due over a training,
however few rows a batch has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol


class Sharing(Protocol):
    """A pass, as far as its rows are concerned."""

    @property
    def share(self) -> float | None: ...

    @property
    def name(self) -> str: ...


def divide(shares: Sequence[float], count: int, owed: Sequence[float]) -> list[int]:
    """``count`` rows divided in proportion to ``shares``, each of which is still ``owed`` so many rows from
    before (negative: had too many). What it is owed afterwards stays below one row, for any counts.

    One row after the other goes, of those that are owed enough, to the one that must have a row soonest
    (Tijdeman, "The chairman assignment problem", Discrete Mathematics 32, 1980).
    """
    total = sum(shares)
    part = {i: share / total for i, share in enumerate(shares) if share > 0}
    enough = 1 / (2 * max(2, len(part)) - 2)
    rows, due = [0] * len(shares), list(owed)
    for _ in range(count):
        for i in part:
            due[i] += part[i]
        ready = [i for i in part if due[i] >= enough] or list(part)
        turn = min(ready, key=lambda i: ((1 - enough - due[i]) / part[i], i))
        due[turn] -= 1
        rows[turn] += 1
    return rows


def assign_rows(
    passes: Sequence[Sharing], batch_size: int, owed: Mapping[str, float] | None = None
) -> list[range]:
    """The batch rows of each pass. Passes with shares get neighboring slices, in their order; ``owed`` is
    that of a ``RowAccount``.
    """
    shared = [(key, p.share) for key, p in zip(_keys(passes), passes, strict=True) if p.share is not None]
    before = [(owed or {}).get(key, 0.0) for key, _ in shared]
    counts = iter(divide([share for _, share in shared], batch_size, before) if shared else [])
    start, rows = 0, []
    for p in passes:
        if p.share is None:
            rows.append(range(batch_size))
        else:
            rows.append(range(start, start := start + next(counts)))
    return rows


def _keys(passes: Sequence[Sharing]) -> list[str]:
    """A name for each pass that tells it from the others."""
    seen: Counter[str] = Counter()
    keys = []
    for p in passes:
        keys.append(f"{p.name}/{seen[p.name]}")
        seen[p.name] += 1
    return keys


class RowAccount:
    """What each pass is owed, carried from batch to batch within a phase; one for each rank, saved with its
    position in the data. A step that is repeated is counted once.
    """

    def __init__(self) -> None:
        self.owed: dict[str, float] = {}
        self._phase = -1
        self._step: int | None = None
        self._at_start: dict[str, float] = {}

    def begin(self, step: int, phase: int) -> None:
        """A step begins, perhaps for the second time; in another phase other passes share the rows."""
        if step == self._step:
            self.owed = dict(self._at_start)
        elif phase != self._phase:
            self.owed = {}
        self._phase, self._step, self._at_start = phase, step, dict(self.owed)

    def settle(self, passes: Sequence[Sharing], batch_size: int) -> None:
        """Note the rows that a batch gives to ``passes``."""
        total = sum(p.share for p in passes if p.share is not None)
        for key, p, rows in zip(
            _keys(passes), passes, assign_rows(passes, batch_size, self.owed), strict=True
        ):
            if p.share is not None:
                self.owed[key] = self.owed.get(key, 0.0) + p.share / total * batch_size - len(rows)

    def state_dict(self) -> dict[str, object]:
        return {"phase": self._phase, "owed": dict(self.owed)}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        owed = state["owed"]
        assert isinstance(owed, dict)
        self._phase, self._step = int(str(state["phase"])), None
        self.owed = {str(key): float(value) for key, value in owed.items()}
