"""Division of rows among passes by their shares, exact over a training whatever the size of the batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol


class Sharing(Protocol):
    """The properties of a pass that determine its rows."""

    @property
    def share(self) -> float | None: ...

    @property
    def name(self) -> str: ...


def divide(shares: Sequence[float], count: int, owed: Sequence[float]) -> list[int]:
    """Divide ``count`` rows in proportion to ``shares``; the debt to each share stays below one row.

    Each row is assigned, among the shares that are owed enough, to the one with the earliest deadline
    (Tijdeman, "The chairman assignment problem", Discrete Mathematics 32, 1980).

    Args:
        shares: The shares, with any positive sum.
        count: The number of rows.
        owed: The rows that each share is owed from earlier batches; negative if it received too many.

    Returns:
        The number of rows of each share.
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
    """The batch rows of each pass. Passes with shares get adjacent slices, in order; ``owed`` is from a
    ``RowAccount``.
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
    """A unique name for each pass."""
    seen: Counter[str] = Counter()
    keys = []
    for p in passes:
        keys.append(f"{p.name}/{seen[p.name]}")
        seen[p.name] += 1
    return keys


class RowAccount:
    """The rows owed to each pass, carried over from batch to batch within a phase.

    Each rank has its own account, which is saved with its position in the data. A repeated step is counted
    only once.
    """

    def __init__(self) -> None:
        self.owed: dict[str, float] = {}
        self._phase = -1
        self._step: int | None = None
        self._at_start: dict[str, float] = {}

    def begin(self, step: int, phase: int) -> None:
        """Begin a step. Idempotent; a new phase, which has other passes, clears the account."""
        if step == self._step:
            self.owed = dict(self._at_start)
        elif phase != self._phase:
            self.owed = {}
        self._phase, self._step, self._at_start = phase, step, dict(self.owed)

    def settle(self, passes: Sequence[Sharing], batch_size: int) -> None:
        """Record the rows of a batch that ``passes`` receive."""
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
