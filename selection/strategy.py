"""What a selection strategy is. Write one by overriding ``select``, or ``ranking`` if it ranks units."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel

from selection.evidence import Evidence
from supernet.budget import Budget
from supernet.config import Section
from supernet.units import Kept


class NoOptions(Section):
    """A strategy that cannot be set up in different ways."""


class Strategy(ABC):
    """Chooses the units of a subnet. Found through the entry-point group ``supernet.strategies``.

    One object is made for a selection and asked once for each budget. It keeps nothing between the calls
    and never sees the network: what it knows comes from the evidence. Asked twice it must answer twice the
    same (seed what you draw), keep at least one unit, and fit the budget; for a size, it keeps exactly that
    many units. ``selection.contract.StrategyContract`` checks all of it.
    """

    Options: ClassVar[type[BaseModel]] = NoOptions
    """A pydantic model (``extra="forbid"``) of what ``--set STRATEGY.*`` may be set to."""
    is_exact: ClassVar[bool] = False
    """Whether the choice has the lowest loss of all subnets of the budget, so that it is what others are
    measured against.
    """

    def __init__(self, options: Any = None) -> None:
        self.options: Any = self.Options() if options is None else options

    @abstractmethod
    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        """The subnet for ``budget``. Not called for a budget that the full net meets."""

    def obstacle(self, evidence: Evidence, budget: Budget) -> str | None:
        """Why this strategy cannot choose here, in words that complete "because ..."; None where it can."""
        return None


class Ranking(Strategy):
    """A strategy that ranks the units and keeps the best of them, each one that still fits."""

    @abstractmethod
    def importance(self, evidence: Evidence, budget: Budget) -> Sequence[float]:
        """How much each unit matters (U,); among equals, the earlier unit is kept."""

    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        importance = self.importance(evidence, budget)
        return budget.fill(sorted(range(len(importance)), key=lambda unit: (-importance[unit], unit)))
