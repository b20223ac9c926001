"""What a recognizer hears: log-mel features, 80 Kaldi-compatible bands at 16 kHz, exactly those that deployed
recognizers compute for themselves; or the samples, as pretrained encoders do.

Shapes: S samples, T frames, F numbers in a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

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
    "normalization": "none: part of the model",
}
"""The features in words, for whoever computes them elsewhere; what is not said is Kaldi's default."""


def fbank(samples: Tensor) -> Tensor:
    """Features ``(T, 80)`` of mono ``samples`` ``(S,)`` in [-1, 1] at 16 kHz, one frame each 10 ms.

    The settings are those sherpa-onnx and kaldi-native-fbank use; normalization is part of the model.
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


InputName = Literal["log-mel", "samples"]


@dataclass(frozen=True)
class Input:
    """What a frontend reads, and how many frames of the encoder's stream it makes of it."""

    name: InputName
    rate: int
    """Frames a second; a sample is a frame, too."""
    width: int
    """Numbers in a frame."""
    convolutions: tuple[tuple[int, int], ...]
    """Kernel and stride in time of each of the frontend's convolutions; none pads."""
    of: Callable[[Tensor], Tensor]
    """Frames (T, F) of mono samples (S,) in [-1, 1] at 16 kHz."""
    description: Mapping[str, Any]
    """In words, for whoever computes it elsewhere."""

    @property
    def subsampling(self) -> int:
        """Frames in a stream frame."""
        return prod(stride for _, stride in self.convolutions)

    @property
    def shortest(self) -> int:
        """Frames that the first stream frame sees."""
        count = 1
        for kernel, stride in reversed(self.convolutions):
            count = (count - 1) * stride + kernel
        return count

    @property
    def stream_seconds(self) -> float:
        """Seconds in a stream frame."""
        return self.subsampling / self.rate

    @property
    def stream_samples(self) -> int:
        """Samples in a stream frame."""
        return SAMPLE_RATE * self.subsampling // self.rate

    def num_frames(self, num_samples: int) -> int:
        """How many frames ``of`` gives for ``num_samples``."""
        shift = SAMPLE_RATE // self.rate
        return (num_samples + shift // 2) // shift

    def num_stream_frames(self, num_frames: int) -> int:
        """Frames after subsampling; at least 1, so that even a click has an (empty) transcript."""
        for kernel, stride in self.convolutions:
            num_frames = (num_frames - kernel) // stride + 1
        return max(1, num_frames)


def _one_by_one(samples: Tensor) -> Tensor:
    return samples[:, None]


LOG_MEL = Input("log-mel", FRAMES_PER_SECOND, NUM_BANDS, ((3, 2),) * 2, fbank, DESCRIPTION)

SAMPLES = Input(
    "samples",
    SAMPLE_RATE,
    1,
    ((10, 5), *((3, 2),) * 4, *((2, 2),) * 2),
    _one_by_one,
    {"kind": "samples", "sample_rate": SAMPLE_RATE, "samples": "mono, in [-1, 1]", "normalization": "none"},
)
"""What wav2vec 2.0 encoders read (arXiv 2006.11477): 320 samples, 20 ms, become a frame."""

INPUTS = {input.name: input for input in (LOG_MEL, SAMPLES)}


def is_silent(samples: Tensor) -> bool:
    """Whether there is nothing to recognize: every sample below -80 dB of full scale."""
    return samples.numel() == 0 or float(samples.abs().max()) < 1e-4


def pad_features(features: list[Tensor]) -> Tensor:
    """Stack ``(T, F)`` tensors into ``(B, T, F)``, zero where padded."""
    return torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
