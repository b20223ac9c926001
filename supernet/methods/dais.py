"""DAIS: sigmoid indicators of units, annealed until they are binary, on held-out data in turn with the
weights (arXiv 2011.02166).

Shapes: U units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from supernet.budget import Budget
from supernet.config import Config, Fraction, Positive, Section
from supernet.method import Method, Moment, Phase, Progress
from supernet.plan import Pass, Plan
from supernet.scorer import Context
from supernet.training.expected_cost import expected_share, prunable_share
from supernet.training.held_out import HeldOut, precision_problems
from supernet.training.phases import joint_training, learning_passes

OPEN = 2.0
"""The initial score of a unit: a gate of 0.88 at a temperature of 1."""
TRAVEL = 6.0
"""The distance that a score can move while indicators are learned: three times that to undecided."""


class DAISOptions(Section):
    score_learning: Fraction = 0.5
    """Share of the updates spent on learning the indicators."""
    every: Positive = 2
    """The indicators are trained in every so many updates of that time, the weights in the others."""
    held_out: HeldOut = 0.25
    """Share of the training utterances on which the indicators are trained, and the weights are not while
    the indicators are learned. 0: both on all utterances.
    """
    cost_weight: Annotated[float, Field(ge=0)] = 20.0
    """Weight of the squared difference between the expected cost and the smallest budget, as shares of the
    cost of all units.
    """
    temperature: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Temperature of the indicators at the end; it falls from 1."""


class DAIS(Method[DAISOptions]):
    """Anneal an indicator of each unit to 0 or 1, with a cost that meets the smallest budget; then train all
    sizes.
    """

    Options = DAISOptions
    initial_score = OPEN
    learns_costs = True

    def phases(self) -> Sequence[Phase]:
        total = self.config.train.num_steps
        learning = round(total * self.options.score_learning)
        learn = LearnIndicators(learning, self.config, self.options, self.budgets[0])
        return [learn, *joint_training(total - learning, self.config)]

    def problems(self) -> list[str]:
        return precision_problems(self.options.held_out, self.config)


def indicators(context: Context, *, temperature: float) -> Tensor:
    """The gates (U,), each the sigmoid of its unit's score divided by the temperature."""
    return torch.sigmoid(context.scorer.importance() / temperature)


def cost_penalty(
    context: Context, *, temperature: float, budget: Budget, weight: float
) -> Mapping[str, Tensor]:
    """The penalty ``weight * (expected cost - budget)²``, the same above the budget as below it."""
    gates_U = indicators(context, temperature=temperature)
    distance = expected_share(gates_U, budget.prices) - prunable_share(budget)
    return {"cost": weight * distance.square()}


class LearnIndicators(Phase):
    """Updates of the indicators, with the network gated, in turn with updates of the weights, with and
    without gates. The temperature falls by the same factor in each.
    """

    name = "indicators"

    def __init__(self, num_steps: int, config: Config, options: DAISOptions, budget: Budget) -> None:
        self.num_steps, self.period, self.held_out = num_steps, options.every, options.held_out
        self.travel = TRAVEL * options.every
        self._config, self._options, self._budget = config, options, budget

    def temperature(self, progress: Progress) -> float:
        share = progress.step / max(1, progress.num_steps - 1)
        return float(self._options.temperature**share)

    def plan(self, moment: Moment) -> Plan:
        temperature = self.temperature(moment.progress)
        gate = partial(indicators, temperature=temperature)
        if moment.progress.step % self._options.every:
            return Plan(learning_passes(self._config, moment.table.full, gate), learning="weights")
        weight = self._options.cost_weight
        penalty = partial(cost_penalty, temperature=temperature, budget=self._budget, weight=weight)
        return Plan((Pass(self._config.names[0], moment.table.full, gate=gate),), penalty, "scorer")

    def gates(self, moment: Moment, context: Context) -> Tensor:
        return indicators(context, temperature=self.temperature(moment.progress))
