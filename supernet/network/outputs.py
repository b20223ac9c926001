"""The outputs of a network for a batch: of a training step, and of one subnet.

Shapes: B utterances, S stream frames, V tokens, E emitted values.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from supernet.head import Head
from supernet.units import Kept


@dataclass
class StepLoss:
    """The loss of a training step to minimize, and detached parts of it for the log."""

    total: Tensor
    """Summed over frames; the engine divides by their number."""
    num_frames: int
    by_pass: dict[str, tuple[Tensor, int]]
    """By pass, the final readings' loss summed over its rows, and the number of these rows' frames."""
    penalties: dict[str, Tensor]


@dataclass(frozen=True)
class Scored:
    """The outputs and losses of one subnet for a batch."""

    kept: Kept
    emissions_BSE: Tensor
    """Emissions of its head: log-probabilities (B, S, V) if it is framewise."""
    lengths: list[int]
    """The stream frames of each utterance."""
    losses_B: Tensor
    head: Head

    def decode(self) -> list[list[int]]:
        """Decode greedily: the token ids of each utterance."""
        return self.head.decode(self.emissions_BSE, self.lengths)
