"""Several passes through one encoder at once.

A *lane* is one pass over some rows of the batch. Lanes over the same rows share one stream as long as they
keep the same units with the same gates; where they part, the rows are copied and both streams go on,
stacked as rows of one tensor. So a shared prefix is computed once, and each unit runs at most once a step,
on the rows that keep it.

Shapes: B batch rows, R stacked rows, N rows that run a unit, S frames, D model dimension, U units.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import torch
from fairseq2.models.transformer import AttentionBiasCache, IdentityBias
from fairseq2.nn import BatchLayout
from torch import Tensor

from supernet.units import Kept

Body = Callable[..., Tensor]
"""What a unit computes, called with its rows (N, S, D), their layout and their attention-bias cache.

A layer is called with a fourth argument (N, 1, 1) where stochastic depth scales the rows that survive: it
multiplies each of its residual branches, so that what it normalizes at its end stays normalized.
"""

FINAL = -1
"""The position of the encoder's output, beside the 1-based layers of intermediate readings."""


@dataclass(frozen=True)
class Lane:
    """One pass over the batch rows ``rows``; host data but for the gates."""

    rows: range
    kept: Kept
    gates_U: Tensor | None = None
    drops: dict[int, frozenset[int]] = field(default_factory=dict)
    """Stochastic depth: by unit, the batch rows that skip it this time."""
    survivor_scale: dict[int, float] = field(default_factory=dict)
    """By unit, what its residual branches are multiplied by for the rows that do not skip it: 1 / (1 - p)."""
    positions: tuple[int, ...] = ()
    """Layers (1-based) to read beside the output."""

    def at(self, unit: int) -> Hashable:
        """What decides how this lane treats ``unit``: lanes that agree may share a stream."""
        if not self.kept[unit]:
            return None
        gated = None if self.gates_U is None else id(self.gates_U)
        return gated, self.drops.get(unit), self.survivor_scale.get(unit)


@dataclass
class Stream:
    """Lanes that have agreed so far, and where their rows stand in the stacked tensor."""

    offset: int
    rows: range
    lanes: list[int]

    def running(self, lane: Lane, unit: int) -> list[int]:
        """The stacked rows that run ``unit``."""
        if not lane.kept[unit]:
            return []
        dropped = lane.drops.get(unit, frozenset())
        return [self.offset + i for i, row in enumerate(self.rows) if row not in dropped]


class Padding:
    """How long each batch row is, and the engine's layouts for any choice of rows.

    A layout and an attention-bias cache belong to one choice of rows: the cache ignores layouts, and
    sharing one between two choices of equal count is silently wrong.
    """

    def __init__(self, lengths: Sequence[int], x_BSD: Tensor) -> None:
        self._lengths, self._width, self._device = list(lengths), x_BSD.size(1), x_BSD.device
        autocast = torch.is_autocast_enabled(x_BSD.device.type)
        self._dtype = torch.get_autocast_dtype(x_BSD.device.type) if autocast else x_BSD.dtype
        self._known: dict[tuple[int, ...], tuple[BatchLayout, AttentionBiasCache]] = {}

    def of(self, rows: tuple[int, ...]) -> tuple[BatchLayout, AttentionBiasCache]:
        """Layout and cache of these batch rows."""
        if rows not in self._known:
            self._known[rows] = self._make([self._lengths[row] for row in rows])
        return self._known[rows]

    def _make(self, lengths: list[int]) -> tuple[BatchLayout, AttentionBiasCache]:
        layout, cache = (
            BatchLayout((len(lengths), self._width), lengths, device=self._device),
            AttentionBiasCache(),
        )
        if layout.padded:  # broadcasts over heads and queries; the engine's own is (N, S, S), made row by row
            bias_NS = torch.zeros(layout.position_indices.shape, dtype=self._dtype, device=self._device)
            bias_NS.masked_fill_(layout.position_indices < 0, -torch.inf)
            cache.set(IdentityBias(), "tensor", bias_NS[:, None, None, :])
        return layout, cache


class Walk:
    """One walk of all lanes through the units; the encoder says which unit is next and what it computes."""

    def __init__(self, x_BSD: Tensor, padding: Padding, lanes: Sequence[Lane]) -> None:
        self._lanes, self._padding = lanes, padding
        self.readings: list[dict[int, Tensor]] = [{} for _ in lanes]
        self._streams: list[Stream] = []
        self._rows: list[int] = []
        for i, lane in enumerate(lanes):
            self._join(i, lane.rows)
        unchanged = self._rows == list(range(x_BSD.size(0)))
        self.x_RSD = (
            x_BSD if unchanged else torch.cat([x_BSD[s.rows.start : s.rows.stop] for s in self._streams])
        )

    def _join(self, lane: int, rows: range) -> None:
        for stream in self._streams:
            if stream.rows == rows:
                stream.lanes.append(lane)
                return
        self._add_stream(rows, [lane])

    def _add_stream(self, rows: range, lanes: list[int]) -> None:
        self._streams.append(Stream(len(self._rows), rows, lanes))
        self._rows.extend(rows)

    def run(self, unit: int, body: Body, *, is_branch: bool) -> None:
        """Run ``unit`` on the rows that keep it: ``x + g s body(x)`` for a branch, ``lerp(x, body(x, s), g)``
        for a layer, with the gate g and the survivors' scale s.
        """
        self._part(unit)
        running = [(s, lane, s.running(lane, unit)) for s, lane in self._leaders()]
        rows = [row for _, _, stacked in running for row in stacked]
        if not rows:
            return
        x_NSD = _take(self.x_RSD, rows)
        layout, cache = self._padding.of(tuple(self._rows[row] for row in rows))
        counts = [(lane, len(stacked)) for _, lane, stacked in running]
        gates_N11, scale_N11 = _gates(unit, counts, x_NSD), _scale(unit, counts, x_NSD)
        if scale_N11 is None:
            y_NSD = body(x_NSD, layout, cache)
        elif is_branch:
            y_NSD = scale_N11 * body(x_NSD, layout, cache)
        else:
            y_NSD = body(x_NSD, layout, cache, scale_N11)
        self.x_RSD = _put(self.x_RSD, rows, _combine(x_NSD, y_NSD, gates_N11, is_branch))

    def read(self, position: int, norm: Callable[[Tensor], Tensor]) -> None:
        """Let the lanes that want it read the stream here."""
        for stream in self._streams:
            wanting = [i for i in stream.lanes if position == FINAL or position in self._lanes[i].positions]
            if wanting:
                x_NSD = norm(self.x_RSD[stream.offset : stream.offset + len(stream.rows)])
                for i in wanting:
                    self.readings[i][position] = x_NSD

    def stream_of(self, lane: int) -> Tensor:
        """What the rows of ``lane`` hold now, (rows, S, D)."""
        stream = next(s for s in self._streams if lane in s.lanes)
        return self.x_RSD[stream.offset : stream.offset + len(stream.rows)]

    def _leaders(self) -> list[tuple[Stream, Lane]]:
        return [(stream, self._lanes[stream.lanes[0]]) for stream in self._streams]

    def _part(self, unit: int) -> None:
        """Split each stream whose lanes treat ``unit`` differently."""
        copies = []
        for stream in list(self._streams):
            groups: dict[Hashable, list[int]] = {}
            for i in stream.lanes:
                groups.setdefault(self._lanes[i].at(unit), []).append(i)
            first, *others = groups.values()
            stream.lanes = first
            for lanes in others:
                copies.append(self.x_RSD[stream.offset : stream.offset + len(stream.rows)])
                self._add_stream(stream.rows, lanes)
        if copies:
            self.x_RSD = torch.cat([self.x_RSD, *copies])


def _take(x_RSD: Tensor, rows: list[int]) -> Tensor:
    if len(rows) == x_RSD.size(0):
        return x_RSD
    if _contiguous(rows):
        return x_RSD[rows[0] : rows[-1] + 1]
    return x_RSD.index_select(0, torch.tensor(rows, device=x_RSD.device))


def _put(x_RSD: Tensor, rows: list[int], y_NSD: Tensor) -> Tensor:
    y_NSD = y_NSD.to(x_RSD.dtype)
    if len(rows) == x_RSD.size(0):
        return y_NSD
    if _contiguous(rows):
        return torch.cat([x_RSD[: rows[0]], y_NSD, x_RSD[rows[-1] + 1 :]])
    return x_RSD.index_copy(0, torch.tensor(rows, device=x_RSD.device), y_NSD)


def _contiguous(rows: list[int]) -> bool:
    return rows[-1] - rows[0] + 1 == len(rows)


def _gates(unit: int, running: list[tuple[Lane, int]], x_NSD: Tensor) -> Tensor | None:
    """The gate of each running row, ``(N, 1, 1)``; None where that is 1 for all."""
    if all(lane.gates_U is None for lane, _ in running):
        return None
    one = x_NSD.new_ones(())
    parts = [(one if lane.gates_U is None else lane.gates_U[unit]).expand(count) for lane, count in running]
    return torch.cat(parts)[:, None, None]


def _scale(unit: int, running: list[tuple[Lane, int]], x_NSD: Tensor) -> Tensor | None:
    """The survivors' scale of each running row, ``(N, 1, 1)``; None where that is 1 for all."""
    if all(lane.survivor_scale.get(unit, 1.0) == 1.0 for lane, _ in running):
        return None
    parts = [x_NSD.new_full((count,), lane.survivor_scale.get(unit, 1.0)) for lane, count in running]
    return torch.cat(parts)[:, None, None]


def _combine(x_NSD: Tensor, y_NSD: Tensor, gates_N11: Tensor | None, is_branch: bool) -> Tensor:
    if gates_N11 is None:
        return x_NSD + y_NSD if is_branch else y_NSD
    if is_branch:
        return x_NSD + gates_N11 * y_NSD
    return torch.lerp(x_NSD, y_NSD.to(x_NSD.dtype), gates_N11.to(x_NSD.dtype))
