"""Choices that look at nothing but the depth."""

from __future__ import annotations

import random
from collections.abc import Sequence

from selection.evidence import Evidence
from selection.strategy import Ranking, Strategy
from supernet.budget import Budget
from supernet.config import Section
from supernet.units import Kept


class Tail(Strategy):
    """Drop the tail: keep the first units, as many as fit (arXiv 2106.09216)."""

    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        prefixes = [
            tuple(i < size for i in range(budget.num_units)) for size in range(budget.num_units, 0, -1)
        ]
        return next((kept for kept in prefixes if budget.fits(kept)), _cheapest(budget))


class EveryOther(Strategy):
    """Keep units at even distances, as many as fit (arXiv 1909.11556: drop every other layer)."""

    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        spread = [evenly_spread(size, budget.num_units) for size in range(budget.num_units, 0, -1)]
        return next((kept for kept in spread if budget.fits(kept)), _cheapest(budget))


def evenly_spread(size: int, num_units: int) -> Kept:
    """``size`` of ``num_units`` at even distances, the first among them."""
    chosen = {i * num_units // size for i in range(size)}
    return tuple(i in chosen for i in range(num_units))


def _cheapest(budget: Budget) -> Kept:
    """Where no such pattern fits: the cheapest unit alone."""
    prices = budget.prices.units
    return budget.fill([prices.index(min(prices))])


class RandomOptions(Section):
    seed: int = 0
    """Another seed is another choice."""


class Random(Ranking):
    """Random units: what every other strategy must beat."""

    Options = RandomOptions

    def importance(self, evidence: Evidence, budget: Budget) -> Sequence[float]:
        rng = random.Random(f"{self.options.seed}/{budget.name}")
        return [rng.random() for _ in range(budget.num_units)]
