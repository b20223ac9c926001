"""First-order Taylor expansion of the loss, with respect to the gates (arXiv 1906.10771, eq. 8) or to the
weights (arXiv 2506.13180).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selection.evidence import Evidence
from selection.strategy import Ranking
from supernet.budget import Budget


class Gradient(Ranking):
    """Mean squared first-order change of an utterance's loss when a unit's gate is closed."""

    def importance(self, evidence: Evidence, budget: Budget) -> Sequence[float]:
        return taylor(evidence)


def taylor(evidence: Evidence) -> list[float]:
    """For each unit, the mean over utterances of (gradient times the change of the gate, which is 1)²."""
    return [float(x) for x in np.mean(np.square(evidence.gate_gradients()), axis=0)]


class Saliency(Ranking):
    """The sum of |weight times derivative of the loss| over a unit's weights (arXiv 2506.13180)."""

    def importance(self, evidence: Evidence, budget: Budget) -> Sequence[float]:
        return [float(x) for x in evidence.weight_saliency()]
