"""Selection by similarity: units that barely change the stream are dropped (arXiv 2106.09216, with SVCCA)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from selection.evidence import Evidence, Measure
from selection.strategy import Ranking
from supernet.budget import Budget


class Similarity(Ranking):
    """Importance is 1 minus the linear CKA of a unit's input and output (arXiv 1905.00414)."""

    measure: ClassVar[Measure] = "cka"

    def importance(self, evidence: Evidence, budget: Budget) -> Sequence[float]:
        matrix = evidence.similarity(self.measure)
        return [1 - float(matrix[unit, unit + 1]) for unit in range(budget.num_units)]


class SimilaritySVCCA(Similarity):
    """The same with mean singular-vector canonical correlation (arXiv 1706.05806)."""

    measure = "svcca"
