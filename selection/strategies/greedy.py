"""Greedy search, one unit at a time (arXiv 2106.09216)."""

from __future__ import annotations

from selection.evidence import Evidence
from selection.strategy import Strategy
from supernet.budget import Budget, toggled
from supernet.units import Kept


class Greedy(Strategy):
    """Backward search: remove the unit that leaves the lowest validation loss until the rest fits."""

    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        kept = budget.full
        while not budget.fits(kept):
            smaller = [toggled(kept, i) for i, keep in enumerate(kept) if keep]
            kept = best(evidence, [kept for kept in smaller if _leads_somewhere(kept, budget)])
        return grow(evidence, budget, kept)


def _leads_somewhere(kept: Kept, budget: Budget) -> bool:
    """Whether any single unit of ``kept`` fits; if none does, further removals would end with no units."""
    return any(any(budget.fill([i])) for i, keep in enumerate(kept) if keep)


class GreedyForward(Strategy):
    """Forward search: add the unit that leaves the lowest validation loss until no other fits."""

    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        return grow(evidence, budget, (False,) * budget.num_units, even_if_worse=True)


def grow(evidence: Evidence, budget: Budget, kept: Kept, *, even_if_worse: bool = False) -> Kept:
    """Add units that fit, the most helpful first; stop where that does not help, unless ``even_if_worse``."""
    while candidates := [toggled(kept, i) for i in budget.addable(kept)]:
        found = best(evidence, candidates)
        if not even_if_worse and evidence.loss(found) >= evidence.loss(kept):
            break
        kept = found
    return kept


def best(evidence: Evidence, candidates: list[Kept]) -> Kept:
    """The candidate with the lowest loss, the first one of a tie."""
    losses = evidence.losses(candidates)
    return candidates[losses.index(min(losses))]
