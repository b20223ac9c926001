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
    """The units of the highest scores that a training method learns for this budget on frozen weights."""

    method: ClassVar[str]

    def importance(self, evidence: Evidence, budget: Budget) -> Sequence[float]:
        return evidence.scores_on_frozen_weights(self.method, budget)


class SimpleTopKOnFrozenWeights(ScoresOnFrozenWeights):
    """Relaxed top-k gates, with k annealed from all units down to the size (arXiv 2407.18930)."""

    method = "simple-top-k"


class IterativeZeroOutOnFrozenWeights(ScoresOnFrozenWeights):
    """Sigmoid gates with a sparsity penalty; the lowest ones are closed in iterations (arXiv 2407.18930)."""

    method = "iterative-zero-out"


class OrthoSoftmaxOnFrozenWeights(ScoresOnFrozenWeights):
    """Rows of annealed, orthogonal softmaxes, as many as fill the budget (arXiv 2501.18895)."""

    method = "ortho-softmax"


class AutoTrainOnceOnFrozenWeights(ScoresOnFrozenWeights):
    """Masks of a controller network whose cost meets the budget (arXiv 2403.14729)."""

    method = "auto-train-once"


class DAISOnFrozenWeights(ScoresOnFrozenWeights):
    """Sigmoid indicators annealed to 0 or 1, whose cost meets the budget (arXiv 2011.02166)."""

    method = "dais"
