"""The interface of selection strategies: override ``Strategy.select``, or ``Ranking.importance``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, cast

from pydantic import BaseModel
from typing_extensions import TypeVar

from selection.evidence import Evidence
from supernet.budget import Budget
from supernet.config import Section
from supernet.units import Kept


class NoOptions(Section):
    """The options of a strategy that has none."""


OptionsT = TypeVar("OptionsT", bound=BaseModel, default=NoOptions)


class Strategy(ABC, Generic[OptionsT]):
    """Chooses the units of a subnet.

    Strategies are found through the entry-point group ``supernet.strategies``. One object is created per
    selection and asked once for each budget. It is stateless, and never sees the network: all it knows comes
    from the evidence. A strategy with options names their class twice, for type checkers and for the command
    line: ``class Mine(Strategy[MyOptions])``, ``Options = MyOptions``.

    ``selection.contract.StrategyContract`` tests every rule stated here.
    """

    Options: ClassVar[type[BaseModel]] = NoOptions
    """Pydantic model (``extra="forbid"``) of its settings, named ``STRATEGY.*``."""
    is_exact: ClassVar[bool] = False
    """Whether the choice is guaranteed to have the lowest loss of all subnets within the budget, so that
    regrets are distances to the true optimum. An exact strategy asks for the losses of all these subnets.
    """

    def __init__(self, options: OptionsT | None = None) -> None:
        """Create the strategy.

        Args:
            options: An instance of ``Options``. None: the defaults.
        """
        self.options: OptionsT = cast(OptionsT, self.Options()) if options is None else options

    @abstractmethod
    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        """Choose the subnet for a budget.

        The choice must be deterministic: the same for the same arguments, whatever was asked before. Seed
        your own random generator instead of drawing from a global one.

        Args:
            evidence: Everything that can be asked about the supernet.
            budget: The limit. Never one that the full network meets, nor one for which ``obstacle`` gave a
                reason.

        Returns:
            For each unit (U,), whether it is kept. At least one is; the subnet fits the budget, and for a
            size it has exactly that many units.
        """

    def obstacle(self, evidence: Evidence, budget: Budget) -> str | None:
        """Say why this strategy cannot choose for a budget. Must be cheap: nothing may be scored.

        Args:
            evidence: Everything that can be asked about the supernet.
            budget: The limit.

        Returns:
            A reason that completes the sentence "it did not choose because …"; None if it can choose.
        """
        return None


class Ranking(Strategy[OptionsT]):
    """A strategy that ranks the units, then keeps them in that order as long as they fit.

    A unit that no longer fits is skipped, and cheaper ones after it may still be kept.
    """

    @abstractmethod
    def importance(self, evidence: Evidence, budget: Budget) -> Sequence[float]:
        """Rank the units for a budget.

        Args:
            evidence: Everything that can be asked about the supernet.
            budget: The limit.

        Returns:
            The importance of each unit (U,), higher to keep it sooner; ties go to the earlier unit.
        """

    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        importance = self.importance(evidence, budget)
        return budget.fill(sorted(range(len(importance)), key=lambda unit: (-importance[unit], unit)))
