"""The interface of a training method: its phases, the scorer that ranks units, and how it chooses subnets.

A phase sees its own progress, never the global step. It changes state only when a step begins or has ended,
and beginning the same step again changes nothing more: a step whose gradients overflow is repeated.

Shapes: U units.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel
from torch import Tensor

from supernet.budget import Budget, Prices, Quantity
from supernet.config import Config
from supernet.plan import Plan
from supernet.scorer import Context, Scorer, Scores
from supernet.units import Kept, UnitTable

Subnets = Mapping[str, Kept]
"""The chosen subnet of every budget, by its name, the smallest first."""

OptionsT = TypeVar("OptionsT", bound=BaseModel)


@dataclass(frozen=True)
class Progress:
    """Where a phase is: ``step`` runs from 0 to ``num_steps - 1``."""

    step: int
    num_steps: int


@dataclass(frozen=True)
class Moment:
    """One step of a phase: plain data, the same on every rank."""

    progress: Progress
    table: UnitTable
    subnets: Subnets
    """Empty before they are chosen."""
    rng: random.Random
    """Seeded by the run and the global step."""


class Phase(ABC):
    """A stretch of training with one kind of plan."""

    name: ClassVar[str]
    num_steps: int
    chooses: ClassVar[bool] = False
    """Whether this phase needs the chosen subnets: they are chosen when the first such phase starts."""
    travel: ClassVar[float | None] = None
    """How far a score can go while the phase lasts, whether it has ten steps or ten thousand: sets their
    rate. None: the rate does not depend on the number of steps.
    """

    def begin(self, moment: Moment, context: Context) -> None:  # noqa: B027 (optional)
        """Change the scorer as a step begins, without gradients. Must be idempotent.

        Args:
            moment: The step that begins.
            context: The network, whose scorer may be changed in place.
        """

    @abstractmethod
    def plan(self, moment: Moment) -> Plan:
        """The passes of a step. Changes nothing.

        Called once for each micro-batch, and before the training for the names of its losses.

        Args:
            moment: The step; its random numbers are the same on every rank.

        Returns:
            The passes, and the penalties that are added to their losses.
        """

    def gates(self, moment: Moment, context: Context) -> Tensor | None:
        """The gates of a step, for the log. Draws no random numbers.

        Args:
            moment: The step.
            context: The network.

        Returns:
            The gates (U,), or None in a phase without gates.
        """
        return None

    def after_step(self, moment: Moment, context: Context, lr: float) -> None:  # noqa: B027 (optional)
        """Change weights or the scorer once the optimizer has updated them, without gradients, e.g. by a
        proximal step.

        Called once for each update, also where it was left out because its gradient was not finite.

        Args:
            moment: The step that ends.
            context: The network, whose scorer and weights may be changed in place.
            lr: The learning rate that the network's weights had in this step.
        """


class Method(ABC, Generic[OptionsT]):
    """How a supernet is trained. Found through the entry-point group ``supernet.methods``; a subclass names
    the class of its options: ``class Mine(Method[MyOptions])``.

    The engine asks once for the scorer and the phases, and for ``choose`` when a phase that ``chooses``
    starts; a method keeps no state of its own: what is learned lies in the scorer.
    """

    Options: ClassVar[type[BaseModel]]
    """A pydantic model (``extra="forbid"``) of what ``method.*`` may be set to."""
    initial_score: ClassVar[float] = 0.0
    """Where the scores of the default scorer start."""
    separate_runs: ClassVar[bool] = False
    """Whether each budget is a run of its own (the yardstick) instead of a subnet of one."""

    def __init__(
        self, options: OptionsT, config: Config, prices: Mapping[Quantity, Prices] | None = None
    ) -> None:
        """
        Args:
            options: The settings ``method.*``.
            config: The configuration of the run.
            prices: The cost of each unit, by quantity, counted or measured when first asked for. None: units
                are only counted, which is enough for sizes.
        """
        self.options, self.config = options, config
        self.table = config.table
        self.prices = prices or {"units": Prices.counting(len(self.table))}

    @cached_property
    def budgets(self) -> tuple[Budget, ...]:
        """The limits on the subnets, the smallest first. Raises ``BudgetError`` where one cannot be met."""
        return tuple(wish.priced(self.prices[wish.quantity]) for wish in self.config.wishes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many units of average price each budget holds, for methods that count."""
        return tuple(budget.typical_size for budget in self.budgets)

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """The phases in order; their steps add up to ``config.train.num_steps``."""

    def scorer(self) -> Scorer:
        """A new module that ranks the units of ``table``: by default one score per unit.

        Called after the rest of the network was made, with PyTorch's generator seeded.
        """
        return Scores(len(self.table), self.initial_score)

    def travels(self) -> list[tuple[int, float | None]]:
        """Of each phase: its steps, and how far a score can go in them."""
        return [(phase.num_steps, phase.travel) for phase in self.phases()]

    def problems(self) -> list[str]:
        """What is wrong with these options for this configuration, in words for the user."""
        return []

    def choose(self, context: Context, budget: Budget) -> Kept:
        """The subnet of a budget. Must not depend on what was chosen before, and draws no random numbers.

        Args:
            context: The network.
            budget: The limit, one of ``budgets``.

        Returns:
            The units to keep: by default those of the highest importance per price, begun from the subnet of
            the next smaller budget, so that subnets are nested.
        """
        return self.nested(budget, context.scorer.importance().tolist())

    def nested(self, budget: Budget, importance: Sequence[float]) -> Kept:
        """The subnets of all budgets up to ``budget``, each filled by ``importance`` from the one before."""
        kept: Kept | None = None
        for one in (*(smaller for smaller in self.budgets if smaller.limit < budget.limit), budget):
            kept = one.fill_by_worth(importance, kept)
        assert kept is not None
        return kept
