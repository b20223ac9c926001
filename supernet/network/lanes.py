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
from copy import copy
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.autocast_mode import is_autocast_available

from supernet.network.branches import rows_of
from supernet.network.chosen_rows import ChosenRows
from supernet.network.layer import run_again
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

    def within(self, part: Sequence[int]) -> Lane:
        """This pass over those of its rows that are in ``part`` of the batch, an ascending choice of rows."""
        here = [i for i, row in enumerate(part) if row in self.rows]
        drops = {unit: frozenset(i for i in here if part[i] in out) for unit, out in self.drops.items()}
        return replace(self, rows=range(here[0], here[-1] + 1) if here else range(0), drops=drops)

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

    def copy(self) -> Streams:
        """The same assignment, to be continued separately."""
        copied = copy(self)
        copied.all = [replace(stream, lanes=list(stream.lanes)) for stream in self.all]
        copied.rows = list(self.rows)
        return copied

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
    """The number of rows on which each unit is computed when ``lanes`` walk together through ``groups`` of
    units: all rows of the group's call if at least one of them runs the unit.
    """
    streams, counts = Streams(lanes), dict[int, int]()
    for units in groups:
        streams.part(units)
        cohorts = list(streams.running(units))
        rows = sum(len(cohort.rows) for cohort in cohorts)
        for k, unit in enumerate(units):
            counts[unit] = rows if any(cohort.runs[k] for cohort in cohorts) else 0
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
        chosen = ChosenRows(self.x_RSD, rows)
        y_NSD = body(chosen.get(), context, _running(units, cohorts, self.x_RSD))
        self.x_RSD = chosen.replaced(y_NSD)

    def call(self, layer: nn.Module, run: Callable[[LaneWalk], None], recomputes: bool = False) -> None:
        """Take the lanes through a layer in one call of it.

        Args:
            layer: The layer, a ``layer.Layer``.
            run: Takes a walk through its units.
            recomputes: Whether the backward pass runs it again instead of keeping its activations.
        """
        before, after = self._streams, list[Streams]()

        def streams(x_RSD: Tensor) -> Tensor:
            walk = copy(self)
            walk.x_RSD, walk._streams = x_RSD, before.copy()
            run(walk)
            after.append(walk._streams)
            return walk.x_RSD

        if recomputes and torch.is_grad_enabled():
            self.x_RSD = run_again(layer, self.x_RSD, streams)
        else:
            self.x_RSD = layer(self.x_RSD, streams)
        self._streams = after[0]

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
    rows = [row for row, cohort in zip(values, cohorts, strict=True) for _ in cohort.rows]
    if len({value for row in values for value in row}) == 1:  # filled on the device: nothing to copy
        return like.new_full((len(rows), len(rows[0])), rows[0][0])
    return sent(torch.tensor(rows, dtype=like.dtype), like.device)
