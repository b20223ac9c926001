"""What the supernet learned: the units with the highest scores (arXiv 2407.18930)."""

from __future__ import annotations

from collections.abc import Sequence

from selection.evidence import Evidence
from selection.strategy import Ranking
from supernet.budget import Budget


class Learned(Ranking):
    """Top-k of the scores from training; for another budget, the best fill by score."""

    def importance(self, evidence: Evidence, budget: Budget) -> Sequence[float]:
        assert evidence.scores is not None
        return evidence.scores

    def obstacle(self, evidence: Evidence, budget: Budget) -> str | None:
        return None if evidence.scores is not None else "the training method learned no scores"
