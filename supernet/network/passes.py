"""The passes of a training step as lanes through the encoder.

Shapes: U units.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from supernet.network.lanes import Gates, Lane
from supernet.network.walk import FINAL
from supernet.plan import Gate, Pass, Step
from supernet.units import Kept


@dataclass(frozen=True)
class IntermediateCTC:
    """The positions and the weight of intermediate losses, the same for every pass."""

    positions: tuple[int, ...]
    """1-based layers of the full network."""
    layer_of_unit: tuple[int, ...]
    """The 0-based layer of each unit."""
    weight: float
    dedupe: bool = True
    """Whether two readings with no kept unit between them are equal. Not so if units are modules, or with
    self-conditioning.
    """

    def positions_for(self, kept: Kept) -> tuple[int, ...]:
        """The positions to read: a kept unit lies before each and, with ``dedupe``, between it and the next
        position or the output.
        """
        before = [self._kept_before(p, kept) for p in self.positions]
        last = sum(kept)
        chosen = [p for i, p in enumerate(self.positions) if self._is_new(i, before, last)]
        return tuple(chosen)

    def _kept_before(self, position: int, kept: Kept) -> int:
        return sum(keep for keep, layer in zip(kept, self.layer_of_unit, strict=True) if layer < position)

    def _is_new(self, i: int, before: list[int], last: int) -> bool:
        if before[i] == 0:
            return False
        following = before[i + 1] if i + 1 < len(before) else last
        return not self.dedupe or before[i] != following


@dataclass(frozen=True)
class Job:
    """A pass on its rows: the lane that the model runs, and the weight of its loss."""

    pass_: Pass
    lane: Lane


def jobs_of(step: Step, reader: IntermediateCTC, evaluate: Callable[[Gate], Tensor]) -> list[Job]:
    """Lanes for every pass of ``step`` that has rows, the largest first, so that nested subnets run on
    leading slices. ``evaluate`` computes the gates (U,), once for all passes that share them.
    """
    rng, gates, jobs = step.draw.random(), dict[Gate, Gates](), []
    for p, rows in zip(step.plan.passes, step.rows, strict=True):
        drops, scale = ({}, {}) if p.drop is None else depth_drops(p.drop, p.kept, rows, rng)
        if p.gate is not None and p.gate not in gates:
            gates[p.gate] = Gates(p.gate, evaluate(p.gate))
        positions = reader.positions_for(p.kept) if p.intermediate else ()
        gate = None if p.gate is None else gates[p.gate]
        lane = Lane(rows, p.kept, gate, drops, scale, positions)
        if step.part is not None:
            lane = lane.within(step.part)
        if lane.rows:
            jobs.append(Job(p, lane))
    return jobs


def depth_drops(
    drop: Sequence[float], kept: Kept, rows: range, rng: random.Random
) -> tuple[dict[int, frozenset[int]], dict[int, float]]:
    """Draw the rows that skip each unit in this step; return them and the factor on the others, by unit."""
    drops, scale = {}, {}
    for unit, p in enumerate(drop):
        if kept[unit] and p > 0:
            drops[unit] = frozenset(row for row in rows if rng.random() < p)
            scale[unit] = 1 / (1 - p)
    return drops, scale


@dataclass(frozen=True)
class Term:
    """One reading of one pass."""

    name: str
    budget: str
    rows: range
    weight: float
    is_final: bool


def terms_of(job: Job, reading: dict[int, Tensor], weight: float) -> list[tuple[Term, Tensor]]:
    """L = (1 - w) L(final) + w mean L(intermediate) (arXiv 2102.03216, eq. 12), times the pass's weight."""
    p, rows = job.pass_, job.lane.rows
    num_intermediate = len(reading) - 1
    intermediate = weight if num_intermediate else 0.0
    terms = []
    for position, x_NSD in reading.items():
        w = (1 - intermediate) if position == FINAL else intermediate / num_intermediate
        terms.append((Term(p.name, p.budget, rows, p.weight * w, position == FINAL), x_NSD))
    return terms


def by_pass(losses_N: Tensor, lengths: list[int], terms: list[Term]) -> dict[str, tuple[Tensor, int]]:
    start, result = 0, dict[str, tuple[Tensor, int]]()
    for term in terms:
        stop = start + len(term.rows)
        if term.is_final:
            total, count = losses_N[start:stop].detach().sum(), sum(lengths[row] for row in term.rows)
            if term.name in result:  # several passes have this name in common
                total, count = total + result[term.name][0], count + result[term.name][1]
            result[term.name] = total, count
        start = stop
    return result
