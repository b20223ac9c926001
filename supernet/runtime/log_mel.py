"""Log-mel features in NumPy, as ``supernet.audio.features`` computes them with PyTorch.

Shapes: S samples, T frames, W samples of a window, F mel bands.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernet.audio.specification import HIGH_FREQUENCY, NUM_BANDS, SAMPLE_RATE, SHIFT, WINDOW

_POINTS = 512
_LOWEST, _HIGHEST = 20.0, SAMPLE_RATE / 2 + HIGH_FREQUENCY
_PREEMPHASIS = 0.97
_EPSILON = float(np.finfo(np.float32).eps)
"""The least energy, whose logarithm is finite."""

Floats = NDArray[np.floating[Any]]


def log_mel(samples_S: Floats) -> NDArray[np.float32]:
    """Log-mel features (T, F), one frame every 10 ms, of at least ``WINDOW`` mono samples in [-1, 1] at
    16 kHz.
    """
    frames_TW = _frames(np.asarray(samples_S, np.float64))
    frames_TW = frames_TW - frames_TW.mean(axis=1, keepdims=True)
    before_TW = np.concatenate([frames_TW[:, :1], frames_TW[:, :-1]], axis=1)
    window_W = np.hanning(WINDOW) ** 0.85
    spectrum = np.fft.rfft((frames_TW - _PREEMPHASIS * before_TW) * window_W, _POINTS)
    energies_TF = np.abs(spectrum) ** 2 @ _bands()
    return np.log(np.maximum(energies_TF, _EPSILON)).astype(np.float32)


def _frames(samples_S: Floats) -> Floats:
    """Windows around the middle of every frame; the recording is reflected at its ends."""
    margin = WINDOW // 2 - SHIFT // 2
    count = (len(samples_S) + SHIFT // 2) // SHIFT
    padded = np.concatenate([samples_S[margin - 1 :: -1], samples_S, samples_S[::-1]])
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::SHIFT][:count]


@lru_cache(maxsize=1)
def _bands() -> Floats:
    """The weights (512 / 2 + 1, F) of triangular filters, which overlap by half on the mel scale."""
    edges = np.linspace(_mel(_LOWEST), _mel(_HIGHEST), NUM_BANDS + 2)
    points = _mel(np.arange(_POINTS // 2 + 1) * SAMPLE_RATE / _POINTS)[:, None]
    rising = (points - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - points) / (edges[2:] - edges[1:-1])
    weights: Floats = np.maximum(0.0, np.minimum(rising, falling))
    return weights


def _mel(hertz: Any) -> Any:
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)
