"""One training step as data: a plan of passes, resolved to lanes over the rows of a batch."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from supernet.network.lanes import Lane
from supernet.training.shares import assign_rows
from supernet.units import Kept

Gate = Callable[[Tensor], Tensor]
"""From the scores (U,) to the gates (U,); differentiable, evaluated inside the model's forward."""

Penalties = Callable[[Tensor], Mapping[str, Tensor]]
"""From the scores (U,) to scalar loss terms, by name."""


@dataclass(frozen=True)
class Pass:
    """One run of (a subset of) the encoder over a share of the batch."""

    size: int
    """Whose loss this is: names the head that reads it."""
    kept: Kept
    weight: float = 1.0
    share: float | None = None
    """Share of the batch's rows. None: all rows. Passes with shares divide the batch among themselves."""
    gate: Gate | None = None
    drop: tuple[float, ...] | None = None
    """Stochastic depth (arXiv 1603.09382): by unit, the probability that an utterance skips it."""
    intermediate: bool = True
    """Whether intermediate CTC reads this pass."""

    @property
    def name(self) -> str:
        return f"{self.size}-gated" if self.gate is not None else str(self.size)


@dataclass(frozen=True)
class Plan:
    """What a step runs. Every rank draws the same one."""

    passes: tuple[Pass, ...]
    penalties: Penalties | None = None


@dataclass(frozen=True)
class Draw:
    """What makes one micro-batch of one rank differ from another: nothing else is random in a step but
    dropout.
    """

    seed: int = 0
    step: int = 0
    rank: int = 0
    micro_batch: int = 0

    def random(self) -> random.Random:
        return random.Random(f"{self.seed}/{self.step}/{self.rank}/{self.micro_batch}")


def depth_drops(
    drop: Sequence[float], kept: Kept, rows: range, rng: random.Random
) -> tuple[dict[int, frozenset[int]], dict[int, float]]:
    """Which rows skip which unit this time, and what the survivors are multiplied by."""
    drops, scale = {}, {}
    for unit, p in enumerate(drop):
        if kept[unit] and p > 0:
            drops[unit] = frozenset(row for row in rows if rng.random() < p)
            scale[unit] = 1 / (1 - p)
    return drops, scale


@dataclass(frozen=True)
class IntermediateCTC:
    """Where intermediate CTC reads, and how its losses are weighted; the same for every pass."""

    positions: tuple[int, ...]
    """1-based layers of the full net."""
    layer_of_unit: tuple[int, ...]
    """By unit, its 0-based layer."""
    weight: float
    dedupe: bool = True
    """Readings are equal where no unit lies between them; not so at module granularity or with self-
    conditioning.
    """

    def positions_for(self, kept: Kept) -> tuple[int, ...]:
        """Positions with a kept unit before them, and (where that makes readings equal) one after the
        previous.
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
    """A pass on its rows: what the model runs and how the result counts."""

    pass_: Pass
    lane: Lane


@dataclass(frozen=True)
class Step:
    """A plan resolved for one batch."""

    plan: Plan
    draw: Draw = field(default_factory=Draw)
    owed: Mapping[str, float] = field(default_factory=dict)
    """The rows that passes with shares are owed from the batches before, by ``RowAccount``."""

    def jobs(self, batch_size: int, scores_U: Tensor, reader: IntermediateCTC) -> list[Job]:
        """Lanes for every pass that has rows, the largest first, so that nested subnets run on leading
        slices.
        """
        rng, gates, passes = self.draw.random(), dict[Gate, Tensor](), self.plan.passes
        jobs = []
        for p, rows in zip(passes, assign_rows(passes, batch_size, self.owed), strict=True):
            drops, scale = ({}, {}) if p.drop is None else depth_drops(p.drop, p.kept, rows, rng)
            if p.gate is not None and p.gate not in gates:
                gates[p.gate] = p.gate(scores_U)
            positions = reader.positions_for(p.kept) if p.intermediate else ()
            gate = None if p.gate is None else gates[p.gate]
            if rows:
                jobs.append(Job(p, Lane(rows, p.kept, gate, drops, scale, positions)))
        return jobs
