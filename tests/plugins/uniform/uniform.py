"""An example of a method: subnets of evenly spaced units, trained one at a time and then jointly."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from supernet.budget import Budget
from supernet.config import Section
from supernet.method import Method, Moment, Phase
from supernet.plan import Pass, Plan
from supernet.scorer import Context
from supernet.training.phases import Joint
from supernet.units import Kept


class UniformOptions(Section):
    offset: int = Field(default=0, ge=0)
    """The first unit that every subnet keeps."""
    in_turn: float = Field(default=0.5, ge=0, le=1)
    """The share of updates in which one size at a time is trained."""


class Uniform(Method[UniformOptions]):
    """Keep evenly spaced units; train one size at a time, then all sizes jointly."""

    Options = UniformOptions

    def phases(self) -> Sequence[Phase]:
        total = self.config.train.num_steps
        first = round(total * self.options.in_turn)
        return [InTurn(first), Joint(total - first, self.config)]

    def choose(self, context: Context, budget: Budget) -> Kept:
        count, size = len(self.table), budget.typical_size
        kept = {(self.options.offset + i * count // size) % count for i in range(size)}
        return tuple(i in kept for i in range(count))


class InTurn(Phase):
    """One size per step, on the whole batch: the smallest, the next larger one, and so on."""

    name = "in turn"
    chooses = True

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps

    def plan(self, moment: Moment) -> Plan:
        names = list(moment.subnets)
        name = names[moment.progress.step % len(names)]
        return Plan((Pass(name, moment.subnets[name]),))
