"""Score learning after training, on frozen weights.

Useful for a supernet without scores, such as an on-demand one, or for a size that it was not trained for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from selection.evidence import Evidence
from selection.strategy import Ranking
from supernet.budget import Budget


class ScoresOnFrozenWeights(Ranking):
    """Top-k of the scores that a training method learns for this budget on frozen weights."""

    method: ClassVar[str]

    def importance(self, evidence: Evidence, budget: Budget) -> Sequence[float]:
        return evidence.scores_on_frozen_weights(self.method, budget.typical_size)


class SimpleTopKOnFrozenWeights(ScoresOnFrozenWeights):
    """Relaxed top-k gates, with k annealed from all units down to the size (arXiv 2407.18930)."""

    method = "simple-top-k"


class IterativeZeroOutOnFrozenWeights(ScoresOnFrozenWeights):
    """Sigmoid gates with a sparsity penalty; the lowest ones are closed in iterations (arXiv 2407.18930)."""

    method = "iterative-zero-out"
