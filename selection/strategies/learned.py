"""Selection by the scores learned in training (arXiv 2407.18930)."""

from __future__ import annotations

from collections.abc import Sequence

from selection.evidence import Evidence
from selection.strategy import Ranking
from supernet.budget import Budget


class Learned(Ranking):
    """Top-k of the learned scores; for a budget in another quantity, the best units that fit."""

    def importance(self, evidence: Evidence, budget: Budget) -> Sequence[float]:
        assert evidence.scores is not None
        return evidence.scores

    def obstacle(self, evidence: Evidence, budget: Budget) -> str | None:
        return None if evidence.scores is not None else "the training method learned no scores"
