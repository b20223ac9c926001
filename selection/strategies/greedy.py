"""Iterative search: one unit at a time, always the one that hurts least or helps most (arXiv 2106.09216)."""

from __future__ import annotations

from selection.evidence import Evidence
from selection.strategy import Strategy
from supernet.budget import Budget, toggled
from supernet.units import Kept


class Greedy(Strategy):
    """Remove the unit whose removal leaves the lowest validation loss, until the rest fits."""

    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        kept = budget.full
        while not budget.fits(kept):
            smaller = [toggled(kept, i) for i, keep in enumerate(kept) if keep]
            kept = best(evidence, [kept for kept in smaller if _leads_somewhere(kept, budget)])
        return grow(evidence, budget, kept)


def _leads_somewhere(kept: Kept, budget: Budget) -> bool:
    """Whether some part of ``kept`` fits: else removing more would end with nothing."""
    return any(any(budget.fill([i])) for i, keep in enumerate(kept) if keep)


class GreedyForward(Strategy):
    """Add the unit that lowers the validation loss most, until none fits."""

    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        return grow(evidence, budget, (False,) * budget.num_units, at_any_price=True)


def grow(evidence: Evidence, budget: Budget, kept: Kept, *, at_any_price: bool = False) -> Kept:
    """Add units that fit, the most helpful first; one that does not lower the loss only ``at_any_price``."""
    while candidates := [toggled(kept, i) for i in budget.addable(kept)]:
        found = best(evidence, candidates)
        if not at_any_price and evidence.loss(found) >= evidence.loss(kept):
            break
        kept = found
    return kept


def best(evidence: Evidence, candidates: list[Kept]) -> Kept:
    """The candidate with the lowest loss; among equals, the first."""
    losses = evidence.losses(candidates)
    return candidates[losses.index(min(losses))]
