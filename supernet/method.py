"""The interface of a training method: its phases, the scorer that ranks units, and how it chooses subnets.

A phase sees its own progress, never the global step. It changes state only at the beginning and after the end
of a step. Beginning a step is idempotent, because a step whose gradients overflow is repeated.

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
"""The chosen subnets by budget name, smallest first."""

OptionsT = TypeVar("OptionsT", bound=BaseModel)


@dataclass(frozen=True)
class Progress:
    """The position within a phase: ``step`` runs from 0 to ``num_steps - 1``."""

    step: int
    num_steps: int


@dataclass(frozen=True)
class Moment:
    """One step of a phase, as plain data that is identical on every rank."""

    progress: Progress
    table: UnitTable
    subnets: Subnets
    """Empty until they are chosen."""
    rng: random.Random
    """Seeded by the run and the global step."""


class Phase(ABC):
    """A stretch of training in which every step has the same kind of plan."""

    name: ClassVar[str]
    num_steps: int
    chooses: ClassVar[bool] = False
    """Whether this phase needs the chosen subnets. They are chosen when the first such phase starts."""
    travel: float | None = None
    """The distance that a score can move during the phase, regardless of its number of steps; it determines
    the scores' learning rate. None: the learning rate does not depend on the number of steps.
    """
    period: int = 1
    """The number of steps after which passes repeat in kind, where steps of different kinds alternate."""
    held_out: float = 0.0
    """Share of the training utterances that are held out for steps that train only the scorer; no other step
    of the phase sees them. 0: every step may see all.
    """

    def begin(self, moment: Moment, context: Context) -> None:  # noqa: B027 (optional)
        """Change the scorer at the beginning of a step, without gradients. Must be idempotent.

        Args:
            moment: The step that begins.
            context: The network; its scorer may be changed in place.
        """

    @abstractmethod
    def plan(self, moment: Moment) -> Plan:
        """Plan the passes of a step, without side effects.

        Called once per micro-batch, and before training to collect the names of the losses.

        Args:
            moment: The step; its random numbers are the same on every rank.

        Returns:
            The passes, and the penalties that are added to their losses.
        """

    def gates(self, moment: Moment, context: Context) -> Tensor | None:
        """Compute the gates of a step for the log, without drawing random numbers.

        Args:
            moment: The step.
            context: The network.

        Returns:
            The gates (U,), or None if the phase has none.
        """
        return None

    def after_step(self, moment: Moment, context: Context, lr: float) -> None:  # noqa: B027 (optional)
        """Change weights or the scorer after the optimizer's update, without gradients.

        A proximal step is an example.

        Called once per update, even if the update was skipped because its gradient was not finite.

        Args:
            moment: The step that ends.
            context: The network; its scorer and weights may be changed in place.
            lr: The learning rate of the network's weights in this step.
        """


class Method(ABC, Generic[OptionsT]):
    """A way to train a supernet, found through the entry-point group ``supernet.methods``.

    A subclass names the class of its options: ``class Mine(Method[MyOptions])``. The engine requests the
    scorer and the phases once, and calls ``choose`` when a phase that ``chooses`` starts. A method is
    stateless: everything that is learned is in the scorer.
    """

    Options: ClassVar[type[BaseModel]]
    """A pydantic model (``extra="forbid"``) of the settings ``method.*``."""
    initial_score: ClassVar[float] = 0.0
    """The initial value of the default scorer's scores."""
    separate_runs: ClassVar[bool] = False
    """Whether each budget is trained in a separate run (as a baseline) instead of as a subnet."""
    learns_costs: ClassVar[bool] = False
    """Whether the importance of a unit already accounts for its cost, so that a subnet takes units by
    importance instead of by importance per cost.
    """

    def __init__(
        self, options: OptionsT, config: Config, prices: Mapping[Quantity, Prices] | None = None
    ) -> None:
        """
        Args:
            options: The settings ``method.*``.
            config: The configuration of the run.
            prices: The cost of each unit by quantity, computed or measured on first access. None: only the
                number of units is available, which is enough for sizes.
        """
        self.options, self.config = options, config
        self.table = config.table
        self.prices = prices or {"units": Prices.counting(len(self.table))}

    @cached_property
    def budgets(self) -> tuple[Budget, ...]:
        """The limits on the subnets, smallest first.

        Raises:
            BudgetError: No subnet fits one of them.
        """
        return tuple(wish.priced(self.prices[wish.quantity]) for wish in self.config.wishes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of units of average cost that fit each budget, for methods that count units."""
        return tuple(budget.typical_size for budget in self.budgets)

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """Make the phases of the training.

        Returns:
            The phases in order; their steps add up to ``config.train.num_steps``.
        """

    def scorer(self) -> Scorer:
        """Make the module that ranks the units of ``table``.

        Called once the rest of the network exists, with PyTorch's generator seeded.

        Returns:
            A new scorer, by default with one score per unit.
        """
        return Scores(len(self.table), self.initial_score)

    def travels(self) -> list[tuple[int, float | None]]:
        """The number of steps of each phase and how far a score can move in them."""
        return [(phase.num_steps, phase.travel) for phase in self.phases()]

    def problems(self) -> list[str]:
        """Check the options against the configuration.

        Returns:
            One sentence for the user per problem; empty if there is none.
        """
        return []

    def choose(self, context: Context, budget: Budget) -> Kept:
        """Choose the subnet of a budget, independently of earlier choices and without random numbers.

        Args:
            context: The network.
            budget: The limit, one of ``budgets``.

        Returns:
            The units to keep. By default, units of the highest importance per cost (or of the highest
            importance, with ``learns_costs``) are added to the subnet of the next smaller budget, so that the
            subnets are nested.
        """
        return self.nested(budget, context.scorer.importance().tolist())

    def nested(self, budget: Budget, importance: Sequence[float]) -> Kept:
        """The subnet of ``budget``, grown by ``importance`` through the subnets of all smaller budgets."""
        kept: Kept | None = None
        ranking = sorted(range(len(importance)), key=lambda unit: (-importance[unit], unit))
        for one in (*(smaller for smaller in self.budgets if smaller.limit < budget.limit), budget):
            kept = one.fill(ranking, kept) if self.learns_costs else one.fill_by_worth(importance, kept)
        assert kept is not None
        return kept
