"""Features of audio that is still coming in: those of the whole recording, as soon as they are known.

This module needs no PyTorch.

Shapes: S samples, T frames, F mel bands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernet.audio.specification import NUM_BANDS, SHIFT, WINDOW

_AHEAD = (WINDOW + SHIFT) // 2
"""The samples from the beginning of a frame to the end of its window, which is centered on the frame."""
Floats = NDArray[np.floating[Any]]


class LiveFeatures:
    """The log-mel features of a recording of which blocks arrive one after the other.

    Args:
        compute: Computes the features (T, F) of a whole recording (S,).
    """

    def __init__(self, compute: Callable[[Floats], Floats]) -> None:
        self._compute = compute
        self._held_S: Floats = np.zeros(0, np.float32)
        self._dropped = 0
        """The samples that are no longer held: whole frames."""
        self._num_frames = 0
        """The frames given so far."""

    @property
    def num_samples(self) -> int:
        """The number of samples so far."""
        return self._dropped + len(self._held_S)

    def accept(self, samples_S: Floats) -> Floats:
        """Take further mono samples at 16 kHz; returns the frames (T, F) whose windows are complete."""
        self._held_S = np.concatenate([self._held_S, samples_S])
        return self._until((self.num_samples - _AHEAD) // SHIFT + 1)

    def finish(self) -> Floats:
        """End the recording, at whose end windows are reflected; returns the last frames (T, F)."""
        if self.num_samples:
            self._held_S = _at_least_a_window(self._held_S)
        return self._until((self.num_samples + SHIFT // 2) // SHIFT)

    def _until(self, count: int) -> Floats:
        """The frames from the next one to the one before ``count``."""
        if count <= self._num_frames:
            return np.zeros((0, NUM_BANDS), np.float32)
        before = self._dropped // SHIFT
        found_TF = self._compute(_at_least_a_window(self._held_S))[self._num_frames - before : count - before]
        self._num_frames = count
        # The window of the next frame begins in the one before it; two more are as long as a window.
        spare = max(0, (count - 3) * SHIFT - self._dropped)
        self._held_S, self._dropped = self._held_S[spare:], self._dropped + spare
        return found_TF


def _at_least_a_window(samples_S: Floats) -> Floats:
    return np.pad(samples_S, (0, max(0, WINDOW - len(samples_S))))
