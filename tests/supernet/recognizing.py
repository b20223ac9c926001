"""The log-probabilities of one subnet, as a recognizer computes them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from supernet.network.supernet_ctc import SupernetCTC
from supernet.recognition.cascade import Cascade, Stage
from supernet.scoring.confidence import UNKNOWN
from supernet.units import Kept


def log_probs(model: SupernetCTC, kept: Kept, samples: Sequence[Tensor]) -> list[Tensor]:
    """Log-probabilities (S, V) of each of ``samples`` (S,), run as one batch; blanks for silence."""
    outputs = Cascade(model, (Stage("", kept),), 0.0, UNKNOWN)(samples)
    return [output.log_probs_SV for output in outputs]
