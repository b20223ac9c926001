"""Units that change the representation least go first (arXiv 2106.09216, there with SVCCA)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from selection.evidence import Evidence, Measure
from selection.strategy import Ranking
from supernet.budget import Budget


class Similarity(Ranking):
    """Linear centered kernel alignment of what enters and what leaves a unit (arXiv 1905.00414)."""

    measure: ClassVar[Measure] = "cka"

    def importance(self, evidence: Evidence, budget: Budget) -> Sequence[float]:
        matrix = evidence.similarity(self.measure)
        return [1 - float(matrix[unit, unit + 1]) for unit in range(budget.num_units)]


class SimilaritySVCCA(Similarity):
    """Mean singular-vector canonical correlation of the same (arXiv 1706.05806)."""

    measure = "svcca"
