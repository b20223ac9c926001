"""Greedy search (arXiv 2106.09216), for any kind of unit and any budget."""

from __future__ import annotations

from selection.evidence import Evidence
from selection.strategy import Strategy
from supernet.budget import Budget, toggled
from supernet.config import Positive, Section
from supernet.units import Kept


class GreedyOptions(Section):
    """Options of ``greedy``."""

    at_once: Positive = 1
    """Units to remove before all remaining ones are scored again. More are faster and less accurate."""
    per_cost: bool = True
    """Whether the rise of the loss is divided by what a unit costs, where the budget does not count units."""
    max_subnets: Positive = 5000
    """Most subnets to score; with more, the strategy does not choose."""


class Greedy(Strategy[GreedyOptions]):
    """Backward search: remove the unit by which the validation loss rises least for what is saved, until the
    rest fits.
    """

    Options = GreedyOptions

    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        kept = budget.full
        while not budget.fits(kept):
            for unit in self._by_harm(evidence, budget, kept)[: self.options.at_once]:
                smaller = toggled(kept, unit)
                if not budget.fits(kept) and _leads_somewhere(smaller, budget):
                    kept = smaller
        return grow(evidence, budget, kept)

    def obstacle(self, evidence: Evidence, budget: Budget) -> str | None:
        removed = budget.num_units - budget.typical_size
        count = sum(budget.num_units - done for done in range(0, removed, self.options.at_once))
        reason = too_many("greedy", count, self.options.max_subnets, "about ")
        return reason and f"{reason}; with a `greedy.at_once` of 4 it would be a quarter"

    def _by_harm(self, evidence: Evidence, budget: Budget, kept: Kept) -> list[int]:
        """The units that may be removed, the least harmful first."""
        units = [i for i, keep in enumerate(kept) if keep and _leads_somewhere(toggled(kept, i), budget)]
        losses = dict(zip(units, evidence.losses([toggled(kept, i) for i in units]), strict=True))
        if not self.options.per_cost or budget.counts_units:
            return sorted(units, key=lambda i: losses[i])
        loss, cost = evidence.loss(kept), budget.prices.of(kept)

        def harm(unit: int) -> float:
            rise = losses[unit] - loss
            saved = max(cost - budget.prices.of(toggled(kept, unit)), 1e-12 * cost)
            return rise / saved if rise > 0 else rise  # falls come before all rises

        return sorted(units, key=harm)


def _leads_somewhere(kept: Kept, budget: Budget) -> bool:
    """Whether any single unit of ``kept`` fits; if none does, further removals would end with no units."""
    return any(any(budget.fill([i])) for i, keep in enumerate(kept) if keep)


class GreedyForwardOptions(Section):
    """Options of ``greedy-forward``."""

    max_subnets: Positive = 5000
    """Most subnets to score; with more, the strategy does not choose."""


class GreedyForward(Strategy[GreedyForwardOptions]):
    """Forward search: add the unit that leaves the lowest validation loss until no other fits."""

    Options = GreedyForwardOptions

    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        return grow(evidence, budget, (False,) * budget.num_units, even_if_worse=True)

    def obstacle(self, evidence: Evidence, budget: Budget) -> str | None:
        count = sum(budget.num_units - done for done in range(budget.typical_size))
        return too_many("greedy-forward", count, self.options.max_subnets, "about ")


def too_many(name: str, count: int, most: int, about: str = "") -> str | None:
    """The obstacle of the strategy ``name`` if it would score more than ``most`` subnets."""
    if count <= most:
        return None
    return f"it would have to score {about}{count:,} subnets, more than `{name}.max_subnets` ({most:,})"


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
