"""Iterative-Zero-Out: sigmoid gates with a sparsity penalty; each iteration removes the weakest units
(arXiv 2407.18930).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from supernet.config import Config, Fraction, Section
from supernet.method import Method, Moment, Phase
from supernet.plan import Plan
from supernet.scorer import Context, Scores
from supernet.training.phases import joint_training, learning_passes

ZEROED = -5.0
"""The score of a unit that was zeroed out: a gate of 0.007, from which it can recover."""
TRAVEL = 15.0
"""The distance that a score can move in an iteration: from 10, an open gate, to that of a zeroed unit."""
MIN_ITERATION = 40
"""Minimum number of updates per iteration unless the number of iterations is set; short trainings have fewer
iterations. With 20 updates, Adam's steps are so large that noise decides which gate closes first.
"""


class IterativeZeroOutOptions(Section):
    score_learning: Fraction = 0.5
    """Share of the updates spent on score learning."""
    iterations: Annotated[int, Field(ge=1)] | None = None
    """Number of iterations. None: one per layer to remove, fewer if they would be shorter than 40 updates."""
    first_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of score learning spent on the first iteration (the longest in the paper). None: all equal."""
    penalty_weight: Annotated[float, Field(ge=0)] = 5.0
    """Weight of the sparsity penalty."""


class IterativeZeroOut(Method[IterativeZeroOutOptions]):
    """Zero out a few more units in each iteration until the smallest size is left, then train all sizes."""

    Options = IterativeZeroOutOptions
    initial_score = 10.0

    def phases(self) -> Sequence[Phase]:
        total, learning = self.config.train.num_steps, self._num_learning
        iterations = [
            ZeroOut(steps, self.config, out_before, out_after, self.options.penalty_weight)
            for steps, (out_before, out_after) in zip(self._lengths(learning), self._targets(), strict=True)
        ]
        return [*iterations, *joint_training(total - learning, self.config)]

    def problems(self) -> list[str]:
        going = len(self.table) - self.sizes[0]
        wanted = self.options.iterations
        if wanted is not None and wanted > max(1, going):
            rule = f"`method.iterations` must be at most {max(1, going)}, the number of units to remove"
            return [f"{rule}, but is {wanted} instead"]
        return []

    @property
    def _num_learning(self) -> int:
        return round(self.config.train.num_steps * float(self.options.score_learning))

    @property
    def _num_iterations(self) -> int:
        going = len(self.table) - self.sizes[0]
        most = min(going // self.config.units_per_layer, self._num_learning // MIN_ITERATION)
        return self.options.iterations or max(1, most)

    def _lengths(self, learning: int) -> list[int]:
        count = self._num_iterations
        first = self.options.first_share if self.options.first_share and count > 1 else 1 / count
        ends = [0, *(round(learning * (first + (1 - first) * i / max(1, count - 1))) for i in range(count))]
        return [b - a for a, b in itertools.pairwise(ends)]

    def _targets(self) -> list[tuple[int, int]]:
        """The number of zeroed units at the beginning and at the end of each iteration."""
        count, going = self._num_iterations, len(self.table) - self.sizes[0]
        out = [round(going * i / count) for i in range(count + 1)]
        return list(itertools.pairwise(out))


def zero_out(scores_U: Tensor, count: int) -> None:
    """Set the ``count`` lowest scores to ``ZEROED`` in place, the later of equal ones first. Idempotent."""
    if count:
        order = torch.sort(scores_U.flip(0), stable=True).indices[:count]
        scores_U[len(scores_U) - 1 - order] = ZEROED


def sigmoid_gates(context: Context) -> Tensor:
    """The gates (U,), each the sigmoid of its unit's score."""
    return torch.sigmoid(context.scorer.importance())


def sparsity_penalty(context: Context, *, out: int, weight: float) -> Mapping[str, Tensor]:
    """The penalty ``weight * |share of closed gates - share of units to remove|``."""
    share_out = 1 - sigmoid_gates(context).mean()
    return {"sparsity": weight * (share_out - out / len(context.table)).abs()}


class ZeroOut(Phase):
    """One iteration. Its first step begins by zeroing the units that the previous iteration removed."""

    name = "zero-out"
    travel = TRAVEL

    def __init__(
        self, num_steps: int, config: Config, out_before: int, out_after: int, weight: float
    ) -> None:
        self.num_steps, self._config = num_steps, config
        self.out_before, self.out_after, self._weight = out_before, out_after, weight

    def begin(self, moment: Moment, context: Context) -> None:
        if moment.progress.step == 0:
            assert isinstance(context.scorer, Scores)
            zero_out(context.scorer.scores, self.out_before)

    def plan(self, moment: Moment) -> Plan:
        passes = learning_passes(self._config, moment.table.full, sigmoid_gates)
        return Plan(passes, partial(sparsity_penalty, out=self.out_after, weight=self._weight))

    def gates(self, moment: Moment, context: Context) -> Tensor:
        return sigmoid_gates(context)
