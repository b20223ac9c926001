"""Several passes through one encoder at once.

A *lane* is one pass over some rows of the batch. Lanes over the same rows share one stream as long as they
keep the same units with the same gates. Where they diverge, the rows are copied, and both streams continue,
stacked as rows of one tensor. A shared prefix is thus computed once, and each group of units runs at most
once per step, on the rows that keep any of its units.

Shapes: B batch rows, R stacked rows, N rows that run a group, K units of it, S frames, D model dimension, U
units.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.amp.autocast_mode import is_autocast_available

from supernet.network.branches import rows_of
from supernet.network.walk import FINAL, Body, Map, Running
from supernet.system.devices import sent
from supernet.units import Kept


@dataclass(frozen=True)
class Gates:
    """A gate for each unit."""

    key: Hashable
    """Identifies the gates: equal keys mean equal gates, so that no values are compared on the device."""
    values_U: Tensor = field(compare=False)


@dataclass(frozen=True)
class Lane:
    """One pass over the batch rows ``rows``; host data except for the gates."""

    rows: range
    kept: Kept
    gates: Gates | None = None
    drops: dict[int, frozenset[int]] = field(default_factory=dict)
    """Stochastic depth: the batch rows that skip each unit in this step."""
    survivor_scale: dict[int, float] = field(default_factory=dict)
    """By unit, the factor on its residual branches in the rows that do not skip it: 1 / (1 - p)."""
    positions: tuple[int, ...] = ()
    """Layers (1-based) to read in addition to the output."""

    def at(self, units: Sequence[int]) -> Hashable:
        """This lane's treatment of a group of units; lanes with the same treatment may share a stream."""
        return tuple(
            (self.drops.get(unit), self.survivor_scale.get(unit)) if self.kept[unit] else None
            for unit in units
        ), self.gates if any(self.kept[unit] for unit in units) else None

    def runs(self, unit: int, row: int) -> bool:
        """Whether ``unit`` runs on a batch row."""
        return self.kept[unit] and row not in self.drops.get(unit, ())


@dataclass
class Stream:
    """Lanes that have not diverged so far, and the position of their rows in the stacked tensor."""

    offset: int
    rows: range
    lanes: list[int]

    @property
    def stacked(self) -> slice:
        return slice(self.offset, self.offset + len(self.rows))


@dataclass(frozen=True)
class Cohort:
    """Rows of one stream that run the same units of a group."""

    lane: Lane
    rows: list[int]
    """Stacked rows."""
    runs: tuple[bool, ...]
    """By unit of the group."""


class Streams:
    """The assignment of lanes to stacked rows, unit by unit; data on the host only."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes
        self.all: list[Stream] = []
        self.rows: list[int] = []
        """The batch row of each stacked row."""
        for i, lane in enumerate(lanes):
            same = next((stream for stream in self.all if stream.rows == lane.rows), None)
            if same is None:
                self._add(lane.rows, [i])
            else:
                same.lanes.append(i)

    def _add(self, rows: range, lanes: list[int]) -> None:
        self.all.append(Stream(len(self.rows), rows, lanes))
        self.rows.extend(rows)

    def part(self, units: Sequence[int]) -> list[Stream]:
        """Split each stream whose lanes treat these units differently; return the streams that were copied to
        the end of the stack, in order.
        """
        copied = []
        for stream in list(self.all):
            groups: dict[Hashable, list[int]] = {}
            for i in stream.lanes:
                groups.setdefault(self._lanes[i].at(units), []).append(i)
            first, *others = groups.values()
            stream.lanes = first
            for lanes in others:
                copied.append(stream)
                self._add(stream.rows, lanes)
        return copied

    def running(self, units: Sequence[int]) -> Iterator[Cohort]:
        """The stacked rows that run at least one of these units, grouped by the units that they run."""
        for stream in self.all:
            lane = self._lanes[stream.lanes[0]]
            runs = [tuple(lane.runs(unit, row) for unit in units) for row in stream.rows]
            for pattern, members in groupby(range(len(runs)), key=runs.__getitem__):
                if any(pattern):
                    yield Cohort(lane, [stream.offset + i for i in members], pattern)


def rows_by_unit(lanes: Sequence[Lane], groups: Sequence[Sequence[int]]) -> dict[int, int]:
    """The number of rows that run each unit when ``lanes`` walk together through ``groups`` of units."""
    streams, counts = Streams(lanes), dict[int, int]()
    for units in groups:
        streams.part(units)
        cohorts = list(streams.running(units))
        for k, unit in enumerate(units):
            counts[unit] = sum(len(cohort.rows) for cohort in cohorts if cohort.runs[k])
    return counts


MakeRows = Callable[[Sequence[int], int, torch.device, torch.dtype], Any]
"""Describes rows to the branches, see ``EncoderFamily.rows``."""


class Padding:
    """The lengths of the batch rows, and the contexts of any selection of them.

    A context, such as a layout and an attention-bias cache, belongs to one selection of rows: the cache
    ignores layouts, so sharing one between two selections of equal size gives wrong results silently.
    """

    def __init__(self, lengths: Sequence[int], x_BSD: Tensor, make: MakeRows = rows_of) -> None:
        self._lengths, self._width, self._device = list(lengths), x_BSD.size(1), x_BSD.device
        kind = x_BSD.device.type
        autocast = is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        self._dtype = torch.get_autocast_dtype(kind) if autocast else x_BSD.dtype
        self._make, self._known = make, dict[tuple[int, ...], Any]()

    def of(self, rows: tuple[int, ...]) -> Any:
        """The context of these batch rows; the same object for the same rows."""
        if rows not in self._known:
            lengths = [self._lengths[row] for row in rows]
            self._known[rows] = self._make(lengths, self._width, self._device, self._dtype)
        return self._known[rows]


class LaneWalk:
    """One walk of all lanes through the units of an encoder, see ``walk.Walk``."""

    def __init__(self, x_BSD: Tensor, padding: Padding, lanes: Sequence[Lane]) -> None:
        self._lanes, self._padding, self._streams = lanes, padding, Streams(lanes)
        self.readings: list[dict[int, Tensor]] = [{} for _ in lanes]
        """By lane, the streams (rows, S, D) read at its positions and at the end."""
        unchanged = self._streams.rows == list(range(x_BSD.size(0)))
        parts = (x_BSD[s.rows.start : s.rows.stop] for s in self._streams.all)
        self.x_RSD = x_BSD if unchanged else torch.cat(list(parts))

    def run(self, units: Sequence[int], body: Body) -> None:
        """Run a group of units on the rows that keep at least one of them."""
        if copied := self._streams.part(units):
            self.x_RSD = torch.cat([self.x_RSD, *(self.x_RSD[stream.stacked] for stream in copied)])
        cohorts = list(self._streams.running(units))
        rows = [row for cohort in cohorts for row in cohort.rows]
        if not rows:
            return
        context = self._padding.of(tuple(self._streams.rows[row] for row in rows))
        chosen = _Chosen(self.x_RSD, rows)
        y_NSD = body(chosen.get(), context, _running(units, cohorts, self.x_RSD))
        self.x_RSD = chosen.replaced(y_NSD)

    def apply(self, map: Map) -> None:
        """Change all streams."""
        self.x_RSD = map(self.x_RSD)

    def read(self, position: int, norm: Map) -> None:
        """Record the normalized stream for the lanes that read this position."""
        for stream in self._streams.all:
            wanting = [i for i in stream.lanes if position == FINAL or position in self._lanes[i].positions]
            if wanting:
                x_NSD = norm(self.x_RSD[stream.stacked])
                for i in wanting:
                    self.readings[i][position] = x_NSD

    def stream_of(self, lane: int) -> Tensor:
        """The current stream of ``lane``, (rows, S, D)."""
        return self.x_RSD[next(s for s in self._streams.all if lane in s.lanes).stacked]


class _Chosen:
    """Some of the stacked rows, in order, of which the host knows the numbers."""

    def __init__(self, x_RSD: Tensor, rows: list[int]) -> None:
        self._x_RSD, self._all, self._slice = x_RSD, len(rows) == len(x_RSD), slice(rows[0], rows[-1] + 1)
        self._is_slice = rows[-1] - rows[0] + 1 == len(rows)
        self._rows_N = None if self._is_slice else sent(torch.tensor(rows), x_RSD.device)

    def get(self) -> Tensor:
        if self._rows_N is not None:
            return self._x_RSD.index_select(0, self._rows_N)
        return self._x_RSD if self._all else self._x_RSD[self._slice]

    def replaced(self, y_NSD: Tensor) -> Tensor:
        """All rows, with ``y_NSD`` instead of the chosen ones."""
        y_NSD = y_NSD.to(self._x_RSD.dtype)
        if self._rows_N is not None:
            return self._x_RSD.index_copy(0, self._rows_N, y_NSD)
        if self._all:
            return y_NSD
        return torch.cat([self._x_RSD[: self._slice.start], y_NSD, self._x_RSD[self._slice.stop :]])


def _running(units: Sequence[int], cohorts: Sequence[Cohort], x_NSD: Tensor) -> Running:
    """The units of a group that run, for the concatenated rows of ``cohorts``."""
    active = [k for k in range(len(units)) if any(cohort.runs[k] for cohort in cohorts)]
    chosen = [units[k] for k in active]
    return Running(tuple(active), _gates(chosen, active, cohorts, x_NSD), _scale(chosen, cohorts, x_NSD))


def _gates(
    units: Sequence[int], active: Sequence[int], cohorts: Sequence[Cohort], x_NSD: Tensor
) -> Tensor | None:
    """The gate of each unit in each row, ``(N, K)``; None if all are 1."""
    runs = [[cohort.runs[k] for k in active] for cohort in cohorts]
    is_even = all(all(pattern) for pattern in runs)
    if is_even and all(cohort.lane.gates is None for cohort in cohorts):
        return None
    ones_K, parts = x_NSD.new_ones(len(units)), []
    for cohort in cohorts:
        gates = cohort.lane.gates
        gates_K = ones_K if gates is None else _of(gates.values_U, units)
        parts.append(gates_K.expand(len(cohort.rows), -1))
    gates_NK = torch.cat(parts)
    if is_even:
        return gates_NK
    return gates_NK * _by_row(runs, cohorts, gates_NK)


def _scale(units: Sequence[int], cohorts: Sequence[Cohort], x_NSD: Tensor) -> Tensor | None:
    """The scale of each unit in each surviving row, ``(N, K)``; None if all are 1."""
    scales = [[cohort.lane.survivor_scale.get(unit, 1.0) for unit in units] for cohort in cohorts]
    if all(scale == 1.0 for row in scales for scale in row):
        return None
    return _by_row(scales, cohorts, x_NSD)


def _of(values_U: Tensor, units: Sequence[int]) -> Tensor:
    if units[-1] - units[0] + 1 == len(units):
        return values_U[units[0] : units[-1] + 1]
    return torch.stack([values_U[unit] for unit in units])


def _by_row(values: Sequence[Sequence[float]], cohorts: Sequence[Cohort], like: Tensor) -> Tensor:
    """For each row (N, K), the values of its cohort."""
    pairs = zip(values, cohorts, strict=True)
    return sent(
        torch.tensor([row for row, cohort in pairs for _ in cohort.rows], dtype=like.dtype), like.device
    )
