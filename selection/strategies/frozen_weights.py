"""Scores learned afterwards: the score learning of a training method, applied to frozen weights.

For a supernet that learned no scores, such as an on-demand one, or for a size it was not trained for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from selection.evidence import Evidence
from selection.strategy import Ranking
from supernet.budget import Budget


class ScoresOnFrozenWeights(Ranking):
    """Top-k of the scores that a training method learns for this budget while the weights stay."""

    method: ClassVar[str]

    def importance(self, evidence: Evidence, budget: Budget) -> Sequence[float]:
        return evidence.scores_on_frozen_weights(self.method, budget.typical_size)


class SimpleTopKOnFrozenWeights(ScoresOnFrozenWeights):
    """Relaxed top-k gates, k annealed from all units down (arXiv 2407.18930)."""

    method = "simple-top-k"


class IterativeZeroOutOnFrozenWeights(ScoresOnFrozenWeights):
    """Sigmoid gates under a sparsity penalty, the weakest put out in iterations (arXiv 2407.18930)."""

    method = "iterative-zero-out"
