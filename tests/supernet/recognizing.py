"""The log-probabilities of one subnet, as a recognizer computes them, and cascades of a run that talks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from supernet import Recognizer
from supernet.network.supernet_ctc import SupernetCTC
from supernet.recognition.cascade import Cascade, Stage
from supernet.runs.confidence_file import save_cascade
from supernet.runs.opening import own_selection
from supernet.runs.run import Run
from supernet.scoring.confidence import UNKNOWN, measured
from supernet.units import Kept
from tests.supernet.talkative import recordings


def log_probs(model: SupernetCTC, kept: Kept, samples: Sequence[Tensor]) -> list[Tensor]:
    """Log-probabilities (S, V) of each of ``samples`` (S,), run as one batch; blanks for silence."""
    outputs = Cascade(model, (Stage("", kept),), 0.0, UNKNOWN)(samples)
    return [output.log_probs_SV for output in outputs]


SLOPES = {"2": {"slope": 3.0, "offset": -1.0}, "4": {"slope": 5.0, "offset": -2.0}}
"""The calibrations of a run with a cascade."""


def confidences(run: Run, size: int, measure: str = "tsallis") -> list[float]:
    """The confidences of the recordings at a size."""
    handle = Recognizer.load(run.folder).use(size)
    found = log_probs(handle._model.recognizer, handle._kept, recordings())
    return [measured(measure, x.numpy()) for x in found]


def fit_cascade(run: Run) -> float:
    """Fit the cascade 2,4 so that it goes on for two of the four recordings; returns the threshold."""
    values = sorted(confidences(run, 2))
    threshold = (values[1] + values[2]) / 2
    save_cascade(run, own_selection(run), "tsallis", SLOPES, "2,4", {"threshold": threshold})
    return threshold
