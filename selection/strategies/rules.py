"""Rules that look only at depth, or at nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from selection.evidence import Evidence
from selection.strategy import Ranking, Strategy
from supernet.budget import Budget
from supernet.config import Section
from supernet.units import Kept


class TailOptions(Section):
    """Options of ``tail``."""

    of: Annotated[int, Field(ge=1)] | None = None
    """Keep the first of the so many units with the highest learned scores, not of all units. Each choice is
    then a prefix of the next one up to this size, so that a cascade goes on at the cost of what is missing.
    """


class Tail(Strategy[TailOptions]):
    """Keep as many of the first units as fit, and drop the tail (arXiv 2106.09216)."""

    Options = TailOptions

    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        units = self._units(evidence, budget)
        prefixes = [
            tuple(i in units[:size] for i in range(budget.num_units)) for size in range(len(units), 0, -1)
        ]
        return next((kept for kept in prefixes if budget.fits(kept)), _cheapest(budget))

    def obstacle(self, evidence: Evidence, budget: Budget) -> str | None:
        if self.options.of is None:
            return None
        if evidence.scores is None:
            return "the training method learned no scores"
        if budget.counts_units and budget.limit > self.options.of:
            return f"`tail.of` is {self.options.of}"
        return None

    def _units(self, evidence: Evidence, budget: Budget) -> list[int]:
        """The units of which the first are kept, in order."""
        if self.options.of is None:
            return list(range(budget.num_units))
        assert evidence.scores is not None
        best = evidence.table.top(evidence.scores, self.options.of)
        return [i for i, keep in enumerate(best) if keep]


class EveryOther(Strategy):
    """Keep as many evenly spaced units as fit (\"every other\" layer dropping, arXiv 1909.11556)."""

    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        spread = [evenly_spread(size, budget.num_units) for size in range(budget.num_units, 0, -1)]
        return next((kept for kept in spread if budget.fits(kept)), _cheapest(budget))


def evenly_spread(size: int, num_units: int) -> Kept:
    """A subnet of ``size`` evenly spaced units, the first unit among them."""
    chosen = {i * num_units // size for i in range(size)}
    return tuple(i in chosen for i in range(num_units))


def _cheapest(budget: Budget) -> Kept:
    """The cheapest unit alone, for budgets that no pattern fits."""
    return budget.fill([budget.prices.cheapest_unit])


class RandomOptions(Section):
    """Options of ``random``."""

    seed: int = 0
    """Seed of the choice."""


class Random(Ranking[RandomOptions]):
    """Random units: the baseline for all other strategies."""

    Options = RandomOptions

    def importance(self, evidence: Evidence, budget: Budget) -> Sequence[float]:
        rng = random.Random(f"{self.options.seed}/{budget.name}")
        return [rng.random() for _ in range(budget.num_units)]
