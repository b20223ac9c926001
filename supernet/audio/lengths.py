"""Lengths of the utterances that a network was trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Lengths:
    """Of the utterances that a net was trained on, in seconds."""

    typical: float
    """Half of them are no longer."""
    longest: float
    """All but one in two hundred are no longer."""

    @classmethod
    def of(cls, seconds: NDArray[np.float64]) -> Lengths:
        """The lengths of utterances of so many ``seconds``, of which there is at least one."""
        typical, longest = np.quantile(seconds, [0.5, 0.995])
        return cls(round(float(typical), 3), round(float(longest), 3))

    def as_json(self) -> dict[str, float]:
        return asdict(self)
