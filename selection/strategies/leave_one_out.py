"""Ablation of single units."""

from __future__ import annotations

from collections.abc import Sequence

from selection.evidence import Evidence
from selection.strategy import Ranking
from supernet.budget import Budget, toggled


class LeaveOneOut(Ranking):
    """Importance is the full network's loss without the unit. Blind to units that can replace each other."""

    def importance(self, evidence: Evidence, budget: Budget) -> Sequence[float]:
        if budget.num_units == 1:
            return [0.0]
        return evidence.losses([toggled(budget.full, i) for i in range(budget.num_units)])
