"""First-order Taylor expansion of the loss in the gates (arXiv 1906.10771, eq. 8)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selection.evidence import Evidence
from selection.strategy import Ranking
from supernet.budget import Budget


class Gradient(Ranking):
    """The mean squared change of an utterance's loss, to first order, when a unit's gate closes."""

    def importance(self, evidence: Evidence, budget: Budget) -> Sequence[float]:
        return taylor(evidence)


def taylor(evidence: Evidence) -> list[float]:
    """By unit, the mean over utterances of (gradient of the gate times the gate's change, which is 1)²."""
    return [float(x) for x in np.mean(np.square(evidence.gate_gradients()), axis=0)]
