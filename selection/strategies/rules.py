"""Rules that look only at depth, or at nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence

from selection.evidence import Evidence
from selection.strategy import Ranking, Strategy
from supernet.budget import Budget
from supernet.config import Section
from supernet.units import Kept


class Tail(Strategy):
    """Keep as many of the first units as fit, and drop the tail (arXiv 2106.09216)."""

    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        prefixes = [
            tuple(i < size for i in range(budget.num_units)) for size in range(budget.num_units, 0, -1)
        ]
        return next((kept for kept in prefixes if budget.fits(kept)), _cheapest(budget))


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
