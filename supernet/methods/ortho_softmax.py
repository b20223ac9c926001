"""OrthoSoftmax: each row of a matrix of softmaxes takes one unit, and as many leading rows are used as fill
the budget (arXiv 2501.18895).

Shapes: R rows, as many as units; U units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from supernet.budget import Budget
from supernet.config import Config, Fraction, Section
from supernet.method import Method, Moment, Phase, Progress
from supernet.plan import Plan
from supernet.scorer import Context, Scorer
from supernet.training.expected_cost import expected_share, prunable_share
from supernet.training.phases import joint_training, learning_passes

NOISE = 0.1
"""Scale of the initial logits: rows that are equal would stay equal."""
TRAVEL = 6.0
"""The distance that a logit can move while rows are learned."""
TINY = 1e-6


class OrthoSoftmaxOptions(Section):
    score_learning: Fraction = 0.5
    """Share of the updates spent on learning which unit each row takes."""
    temperature: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Temperature of the softmaxes at the end; it falls from 1."""
    orthogonality: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the orthogonality penalty at the end; it rises from 0."""


class OrthoSoftmax(Method[OrthoSoftmaxOptions]):
    """Learn the order in which units are taken by rows of softmaxes, then train all sizes."""

    Options = OrthoSoftmaxOptions
    learns_costs = True

    def scorer(self) -> Scorer:
        return Rows(len(self.table))

    def phases(self) -> Sequence[Phase]:
        total = self.config.train.num_steps
        learning = round(total * self.options.score_learning)
        learn = LearnRows(learning, self.config, self.options, self.budgets)
        return [learn, *joint_training(total - learning, self.config)]


class Rows(Scorer):
    """A logit for each row and unit."""

    def __init__(self, num_units: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(NOISE * torch.randn(num_units, num_units))

    def importance(self) -> Tensor:
        """The number of rows after the one that takes each unit (U,).

        Row by row, each takes the unit of its highest logit that no earlier one has.
        """
        left_RU, ranks_U = self.logits.detach().clone(), torch.zeros_like(self.logits[0])
        for row in range(len(left_RU)):
            taken = left_RU[row].argmax(keepdim=True)
            ranks_U.index_fill_(0, taken, float(len(left_RU) - 1 - row))
            left_RU.index_fill_(1, taken, -torch.inf)
        return ranks_U


def rows_of(context: Context, temperature: float) -> Tensor:
    """The probability (R, U) that each row takes each unit."""
    assert isinstance(context.scorer, Rows)
    return torch.softmax(context.scorer.logits / temperature, dim=1)


def leading_gates(rows_RU: Tensor) -> Tensor:
    """For each number of leading rows (R, U), the probability that any of them takes a unit."""
    return 1 - torch.exp(torch.log((1 - rows_RU).clamp(min=TINY)).cumsum(0))


def row_gates(context: Context, *, temperature: float, budget: Budget) -> Tensor:
    """The gates (U,) of as many leading rows as have an expected cost next to the budget."""
    gates_RU = leading_gates(rows_of(context, temperature))
    costs_R = expected_share(gates_RU.detach(), budget.prices)
    number = (costs_R - prunable_share(budget)).abs().argmin(keepdim=True)
    return gates_RU.index_select(0, number).squeeze(0)


def orthogonality(context: Context, *, temperature: float, weight: float) -> Mapping[str, Tensor]:
    """The penalty ``weight * ‖P Pᵀ - I‖² / R`` on the matrix P of softmaxes."""
    rows_RU = rows_of(context, temperature)
    products_RR = rows_RU @ rows_RU.T
    apart_RR = products_RR - torch.eye(len(rows_RU), dtype=rows_RU.dtype, device=rows_RU.device)
    return {"orthogonality": weight * apart_RR.square().sum() / len(rows_RU)}


class LearnRows(Phase):
    """The full network, trained both without gates and gated for one budget after another, except those that
    keep all units.
    """

    name = "rows"
    travel = TRAVEL

    def __init__(
        self, num_steps: int, config: Config, options: OrthoSoftmaxOptions, budgets: Sequence[Budget]
    ) -> None:
        self.num_steps, self._config, self._options = num_steps, config, options
        self._budgets = [one for one in budgets if not one.fits(one.full)] or [*budgets[:1]]
        self.period = len(self._budgets)

    def _share(self, progress: Progress) -> float:
        return progress.step / max(1, progress.num_steps - 1)

    def temperature(self, progress: Progress) -> float:
        return float(self._options.temperature ** self._share(progress))

    def _budget(self, progress: Progress) -> Budget:
        return self._budgets[progress.step % len(self._budgets)]

    def plan(self, moment: Moment) -> Plan:
        temperature, budget = self.temperature(moment.progress), self._budget(moment.progress)
        gate = partial(row_gates, temperature=temperature, budget=budget)
        weight = self._options.orthogonality * self._share(moment.progress)
        penalty = partial(orthogonality, temperature=temperature, weight=weight)
        return Plan(learning_passes(self._config, moment.table.full, gate, budget.name), penalty)

    def gates(self, moment: Moment, context: Context) -> Tensor:
        return row_gates(context, temperature=self.temperature(moment.progress), budget=self._budgets[0])
