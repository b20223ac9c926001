"""Each size trained alone, as a baseline: a network of that depth, or a fixed choice of units."""

from __future__ import annotations

from collections.abc import Sequence

from supernet.budget import Budget
from supernet.config import Positive, Section
from supernet.method import Method, Moment, Phase
from supernet.plan import Pass, Plan
from supernet.scorer import Context
from supernet.units import Kept, Subnet


class IndividualOptions(Section):
    kept: tuple[str, ...] | None = None
    """Names of the units to train alone, such as a supernet's choice. None: the first units."""
    grow_from: Positive | None = None
    """Number of units that train first, for the share `passes.smallest_first` of the updates, before those
    that follow them join. None: all units train from the beginning.
    """


class Individual(Method[IndividualOptions]):
    """Train each size in a separate run, in which every step uses the whole batch."""

    Options = IndividualOptions
    separate_runs = True

    def phases(self) -> Sequence[Phase]:
        total, start = self.config.train.num_steps, self.options.grow_from
        first = round(total * self.config.passes.smallest_first)
        if start is None or start >= self.sizes[-1] or not first:
            return [Alone(total)]
        return [FirstUnits(first, start), Alone(total - first)]

    def problems(self) -> list[str]:
        if self.options.kept is None:
            return []
        budget, count = self.budgets[-1], len(set(self.options.kept))
        if budget.counts_units and count != budget.limit:
            return [f"`method.kept` must name {budget.limit:g} units, the size, but names {count} instead"]
        try:
            kept = self._fixed(self.options.kept)
        except ValueError as e:
            return [str(e)]
        return [] if budget.fits(kept) else [f"`method.kept` must fit the budget {budget.name}, but does not"]

    def choose(self, context: Context, budget: Budget) -> Kept:
        if self.options.kept is None:
            return budget.fill(range(len(self.table)))
        return self._fixed(self.options.kept)

    def _fixed(self, names: tuple[str, ...]) -> Kept:
        return self.table.kept(Subnet(self.config.granularity, names))


class Alone(Phase):
    """The only subnet on the whole batch."""

    name = "alone"
    chooses = True

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps

    def plan(self, moment: Moment) -> Plan:
        ((name, kept),) = moment.subnets.items()
        return Plan((Pass(name, kept),))


class FirstUnits(Alone):
    """Only the first units of the subnet on the whole batch."""

    name = "first units"

    def __init__(self, num_steps: int, num_units: int) -> None:
        super().__init__(num_steps)
        self._num_units = num_units

    def plan(self, moment: Moment) -> Plan:
        ((name, kept),) = moment.subnets.items()
        units = [i for i, keep in enumerate(kept) if keep][: self._num_units]
        return Plan((Pass(name, tuple(i in units for i in range(len(kept)))),))
