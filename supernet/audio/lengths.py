"""Durations of the utterances that a network was trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Lengths:
    """Durations of the training utterances in seconds."""

    typical: float
    """The median."""
    longest: float
    """The 99.5th percentile."""

    @classmethod
    def of(cls, seconds: NDArray[np.float64]) -> Lengths:
        """Summarize the durations of at least one utterance."""
        typical, longest = np.quantile(seconds, [0.5, 0.995])
        return cls(round(float(typical), 3), round(float(longest), 3))

    def as_json(self) -> dict[str, float]:
        return asdict(self)
