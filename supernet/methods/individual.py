"""One size trained alone, the yardstick for supernets: a net of that depth, or a fixed choice of units."""

from __future__ import annotations

from collections.abc import Sequence

from supernet.config import Config, Section
from supernet.method import Method, Moment, Phase
from supernet.plan import Pass, Plan
from supernet.scorer import Context
from supernet.units import Kept, Subnet


class IndividualOptions(Section):
    kept: tuple[str, ...] | None = None
    """Names of the units to train alone, such as a supernet's choice. None: the first ones."""


class Individual(Method):
    """One run per size; every step runs that size on the whole batch."""

    Options = IndividualOptions
    separate_runs = True

    def phases(self) -> Sequence[Phase]:
        return [Alone(self.config)]

    def problems(self) -> list[str]:
        if self.options.kept is None:
            return []
        if (count := len(set(self.options.kept))) != max(self.sizes):
            return [f"`method.kept` must name {max(self.sizes)} units, the size, but names {count} instead"]
        try:
            self._fixed()
        except ValueError as e:
            return [str(e)]
        return []

    def choose(self, context: Context, size: int) -> Kept:
        return self.table.first(size) if self.options.kept is None else self._fixed()

    def _fixed(self) -> Kept:
        return self.table.kept(Subnet(self.config.granularity, self.options.kept))


class Alone(Phase):
    """The one subnet on the whole batch."""

    name = "alone"
    chooses = True

    def __init__(self, config: Config) -> None:
        self.num_steps, self._config = config.train.num_steps, config

    def plan(self, moment: Moment) -> Plan:
        ((size, kept),) = moment.subnets.items()
        return Plan((Pass(size, kept),))
