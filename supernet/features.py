"""Log-mel features: 80 Kaldi-compatible bands at 16 kHz, exactly those that deployed recognisers compute
for themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchaudio.compliance import kaldi

SAMPLE_RATE = 16_000
NUM_BANDS = 80
FRAMES_PER_SECOND = 100

DESCRIPTION = {
    "kind": "log-mel filter bank of Kaldi",
    "sample_rate": SAMPLE_RATE,
    "num_bands": NUM_BANDS,
    "frames_per_second": FRAMES_PER_SECOND,
    "snip_edges": False,
    "high_freq": -400,
    "dither": 0,
    "samples": "mono, in [-1, 1]",
    "normalisation": "none: part of the model",
}
"""The features in words, for whoever computes them elsewhere; what is not said is Kaldi's default."""


def fbank(samples: Tensor) -> Tensor:
    """Features ``(T, 80)`` of mono ``samples`` ``(S,)`` in [-1, 1] at 16 kHz, one frame each 10 ms.

    The settings are those sherpa-onnx and kaldi-native-fbank use; normalisation is part of the model.
    """
    features: Tensor = kaldi.fbank(
        samples[None],
        sample_frequency=SAMPLE_RATE,
        num_mel_bins=NUM_BANDS,
        snip_edges=False,
        high_freq=-400,
        dither=0,
    )
    return features


def num_frames(num_samples: int) -> int:
    """How many frames :func:`fbank` gives for ``num_samples``."""
    shift = SAMPLE_RATE // FRAMES_PER_SECOND
    return (num_samples + shift // 2) // shift


def is_silent(samples: Tensor) -> bool:
    """Whether there is nothing to recognise: every sample below -80 dB of full scale."""
    return samples.numel() == 0 or float(samples.abs().max()) < 1e-4


def pad_features(features: list[Tensor]) -> Tensor:
    """Stack ``(T, F)`` tensors into ``(B, T, F)``, zero where padded."""
    return torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
