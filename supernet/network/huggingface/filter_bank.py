"""Kaldi's log-mel features as matrix products, for graphs, which have no Fourier transform.

Shapes: B utterances, T samples, S feature frames, W samples of a window, K frequencies, F mel bands.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchaudio.compliance import kaldi

from supernet.audio.specification import NUM_BANDS, SAMPLE_RATE, SHIFT, WINDOW

_POINTS = 512
_PREEMPHASIS = 0.97
_LEAST = float(np.finfo(np.float32).eps)
"""The least energy, whose logarithm is finite."""


class FilterBank:
    """Computes the features of ``torchaudio.compliance.kaldi.fbank``, in double precision."""

    def __init__(self) -> None:
        with torch.device("cpu"):
            bands_FK, _ = kaldi.get_mel_banks(NUM_BANDS, _POINTS, SAMPLE_RATE, 20.0, 0.0, 100.0, -500.0, 1.0)
        # No filter reaches the highest frequency.
        self._bands_KF = F.pad(bands_FK.double(), (0, 1)).T
        self._analysis_W2K = torch.from_numpy(_analysis())

    def __call__(self, samples_BT: Tensor) -> Tensor:
        """The features (B, S, F), whose windows all lie within the samples."""
        parts_BS2K = samples_BT.double().unfold(1, WINDOW, SHIFT) @ self._analysis_W2K
        real_BSK, imaginary_BSK = parts_BS2K.chunk(2, dim=-1)
        energies_BSF = (real_BSK.square() + imaginary_BSK.square()) @ self._bands_KF
        return energies_BSF.clamp(min=_LEAST).log()


@lru_cache(maxsize=1)
def _analysis() -> NDArray[np.float64]:
    """Removal of the mean, preemphasis, window and Fourier transform as one matrix (W, 2 K): real parts, then
    imaginary ones.
    """
    centered_WW = np.eye(WINDOW) - 1 / WINDOW
    before_WW = np.concatenate([centered_WW[:, :1], centered_WW[:, :-1]], axis=1)
    window_W = np.hanning(WINDOW) ** 0.85
    spectrum_WK = np.fft.rfft((centered_WW - _PREEMPHASIS * before_WW) * window_W, _POINTS)
    return np.concatenate([spectrum_WK.real, spectrum_WK.imag], axis=1)
