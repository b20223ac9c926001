"""Exhaustive search, where there are few enough subnets."""

from __future__ import annotations

import itertools
import math

from selection.evidence import Evidence
from selection.strategies.greedy import best, too_many
from selection.strategy import Strategy
from supernet.budget import Budget
from supernet.config import Positive, Section
from supernet.units import Kept


class ExhaustiveOptions(Section):
    """Options of ``exhaustive``."""

    max_subnets: Positive = 5000
    """Most subnets to score; with more, the strategy does not choose."""


class Exhaustive(Strategy[ExhaustiveOptions]):
    """The subnet with the lowest loss of all that fit: for a size, of all with exactly that many units."""

    Options = ExhaustiveOptions
    is_exact = True

    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        return best(evidence, all_subnets(budget))

    def obstacle(self, evidence: Evidence, budget: Budget) -> str | None:
        return too_many("exhaustive", num_candidates(budget), self.options.max_subnets)


def num_candidates(budget: Budget) -> int:
    """Number of subnets of the budget's size, or of all sizes for a budget in another quantity."""
    if budget.counts_units:
        return math.comb(budget.num_units, int(budget.limit))
    return int(2**budget.num_units) - 1


def all_subnets(budget: Budget) -> list[Kept]:
    """Every subnet that the exhaustive search scores for the budget."""
    if budget.counts_units:
        chosen = itertools.combinations(range(budget.num_units), int(budget.limit))
        return [tuple(i in units for i in range(budget.num_units)) for units in map(set, chosen)]
    return [kept for kept in itertools.product((True, False), repeat=budget.num_units) if budget.fits(kept)]
