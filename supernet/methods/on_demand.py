"""On-demand pruning: one network trained with intermediate CTC and stochastic depth, from which layers can be
removed on demand (arXiv 2106.09216).
"""

from __future__ import annotations

from collections.abc import Sequence

from supernet.budget import Budget
from supernet.config import Probability, Section
from supernet.method import Method, Moment, Phase
from supernet.plan import Pass, Plan
from supernet.scorer import Context
from supernet.training.phases import first_phase
from supernet.units import Kept


class OnDemandOptions(Section):
    max_drop: Probability = 0.3
    """Probability of skipping the last layer; the probability grows linearly with depth."""
    grow: bool = False
    """Whether the smallest size, the first units, trains first, for the share `passes.smallest_first` of the
    updates.
    """


class OnDemand(Method[OnDemandOptions]):
    """Train the full network; its subnets are its first units until a strategy chooses others."""

    Options = OnDemandOptions

    def phases(self) -> Sequence[Phase]:
        depth = self.config.num_layers
        drop = tuple(self.options.max_drop * (unit.layer + 1) / depth for unit in self.table.units)
        smallest = first_phase(self.config) if self.options.grow else []
        num_steps = self.config.train.num_steps - sum(phase.num_steps for phase in smallest)
        return [*smallest, FullNetwork(num_steps, drop)]

    def choose(self, context: Context, budget: Budget) -> Kept:
        smaller = [self.choose(context, one) for one in self.budgets if one.limit < budget.limit]
        return budget.fill(range(len(self.table)), smaller[-1] if smaller else None)


class FullNetwork(Phase):
    """Only the full network, on the whole batch."""

    name = "full network"
    chooses = True

    def __init__(self, num_steps: int, drop: tuple[float, ...] | None) -> None:
        self.num_steps, self._drop = num_steps, drop

    def plan(self, moment: Moment) -> Plan:
        return Plan((Pass(list(moment.subnets)[-1], moment.table.full, drop=self._drop),))
