"""A method with two parameters per unit, the mean and the scale of a score; a gate is the probability that
the score is positive.

Shapes: U units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from pydantic import Field
from torch import Tensor, nn

from supernet.config import Config, Section
from supernet.method import Method, Moment, Phase
from supernet.plan import Plan
from supernet.scorer import Context, Scorer
from supernet.system.devices import sent
from supernet.training.phases import joint_training, learning_passes


class Normal(Scorer):
    """The mean and the logarithm of the scale of a normally distributed score per unit."""

    def __init__(self, num_units: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.full((num_units,), 2.0))
        self.log_scale = nn.Parameter(torch.zeros(num_units))

    def importance(self) -> Tensor:
        """The lower end of a confidence interval of each score (U,)."""
        return self.mean - self.log_scale.exp()


def open_probability(context: Context) -> Tensor:
    """The probability that each unit's score is positive (U,)."""
    scorer = context.scorer
    assert isinstance(scorer, Normal)
    gates_U: Tensor = torch.special.ndtr(scorer.mean * (-scorer.log_scale).exp())
    return gates_U


def expected_cost(context: Context, weight: float, limit: float) -> Mapping[str, Tensor]:
    """weight * |expected MACs - limit| / MACs of the full network."""
    prices = context.prices["macs"]
    gates_U = open_probability(context)
    costs_U = sent(torch.tensor(prices.units, dtype=gates_U.dtype), gates_U.device)
    expected = prices.base + (gates_U * costs_U).sum()
    return {"cost": weight * (expected - limit).abs() / prices.full}


class UncertainOptions(Section):
    learning: float = Field(default=0.5, ge=0, le=1)
    """The share of updates in score learning, which alternate between weights and scores."""
    weight: float = Field(default=1.0, ge=0)
    """The weight of the distance between the expected cost and the smallest budget."""
    shrink: float = Field(default=0.1, ge=0)
    """The rate at which the weights of units shrink that are more likely closed than open."""


class Uncertain(Method[UncertainOptions]):
    """Train scores and weights in alternation, then all subnets jointly."""

    Options = UncertainOptions

    def scorer(self) -> Scorer:
        return Normal(len(self.table))

    def phases(self) -> Sequence[Phase]:
        total, options = self.config.train.num_steps, self.options
        learning = round(total * options.learning)
        prices = self.prices["macs"]
        smallest = self.budgets[0]
        share = smallest.limit / smallest.prices.full
        penalty = partial(expected_cost, weight=options.weight, limit=share * prices.full)
        return [
            Learn(learning, self.config, penalty, options.shrink),
            *joint_training(total - learning, self.config),
        ]


class Learn(Phase):
    """Updates that alternate between weights and scores."""

    name = "uncertain"

    def __init__(
        self, num_steps: int, config: Config, penalty: partial[Mapping[str, Tensor]], shrink: float
    ) -> None:
        self.num_steps, self._config, self._penalty, self._shrink = num_steps, config, penalty, shrink

    def plan(self, moment: Moment) -> Plan:
        passes = learning_passes(self._config, moment.table.full, open_probability)
        is_even = moment.progress.step % 2 == 0
        return Plan(passes, self._penalty, "weights" if is_even else "scorer")

    def gates(self, moment: Moment, context: Context) -> Tensor:
        return open_probability(context)

    def after_step(self, moment: Moment, context: Context, lr: float) -> None:
        """Shrink the weights of closed units, as the proximal step of a group penalty does."""
        for closed, unit in zip(open_probability(context) < 0.5, moment.table.units, strict=True):
            for weight in context.weights[unit.name]:
                weight.mul_(1 - lr * self._shrink * closed)
