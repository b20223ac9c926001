"""Input features of the recognizer: 80 Kaldi-compatible log-mel bands at 16 kHz, exactly as deployed
recognizers compute them, or raw samples, as pretrained encoders expect.

Shapes: S samples, T frames, F values per frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchaudio.compliance import kaldi

from supernet.audio.specification import (
    DESCRIPTION,
    FRAMES_PER_SECOND,
    HIGH_FREQUENCY,
    NUM_BANDS,
    SAMPLE_RATE,
    SILENCE,
)


def fbank(samples: Tensor) -> Tensor:
    """Compute log-mel features ``(T, 80)``, one frame every 10 ms.

    The settings are those of sherpa-onnx and kaldi-native-fbank; normalization is part of the model.

    Args:
        samples: Mono samples ``(S,)`` in [-1, 1] at 16 kHz.
    """
    features: Tensor = kaldi.fbank(
        samples[None],
        sample_frequency=SAMPLE_RATE,
        num_mel_bins=NUM_BANDS,
        snip_edges=False,
        high_freq=HIGH_FREQUENCY,
        dither=0,
    )
    return features


InputName = Literal[
    "log-mel", "log-mel-80ms", "samples", "samples-20ms", "samples-20ms-centered", "samples-80ms"
]

Length = TypeVar("Length", int, NDArray[np.int64])


@dataclass(frozen=True)
class Input:
    """An input representation, and how the frontend subsamples it to the encoder's frames."""

    name: InputName
    rate: int
    """Input frames per second; each raw sample counts as a frame."""
    width: int
    """Values per frame."""
    convolutions: tuple[tuple[int, int], ...]
    """Kernel size and stride in time of each of the frontend's convolutions, none of which pads."""
    of: Callable[[Tensor], Tensor]
    """Compute frames (T, F) from mono samples (S,) in [-1, 1] at 16 kHz."""
    description: Mapping[str, Any]
    """A specification for other implementations."""

    @property
    def is_log_mel(self) -> bool:
        """Whether a frame has log-mel bands."""
        return self.of is fbank

    @property
    def subsampling(self) -> int:
        """Input frames per encoder frame."""
        return prod(stride for _, stride in self.convolutions)

    @property
    def shortest(self) -> int:
        """Input frames in the receptive field of the first encoder frame."""
        count = 1
        for kernel, stride in reversed(self.convolutions):
            count = (count - 1) * stride + kernel
        return count

    @property
    def stream_seconds(self) -> float:
        """Duration of an encoder frame in seconds."""
        return self.subsampling / self.rate

    @property
    def stream_samples(self) -> int:
        """Duration of an encoder frame in samples."""
        return SAMPLE_RATE * self.subsampling // self.rate

    def num_frames(self, num_samples: int) -> int:
        """Number of input frames that ``of`` returns for ``num_samples``."""
        shift = SAMPLE_RATE // self.rate
        return (num_samples + shift // 2) // shift

    def convolved(self, num_frames: Length) -> Length:
        """Number of encoder frames after the convolutions; not positive where the input is too short."""
        for kernel, stride in self.convolutions:
            num_frames = (num_frames - kernel) // stride + 1
        return num_frames

    def num_stream_frames(self, num_frames: int) -> int:
        """Number of encoder frames; at least 1, so that even a click has an (empty) transcript."""
        return max(1, self.convolved(num_frames))


LOG_MEL = Input("log-mel", FRAMES_PER_SECOND, NUM_BANDS, ((3, 2),) * 2, fbank, DESCRIPTION)
LOG_MEL_80MS = replace(LOG_MEL, name="log-mel-80ms", convolutions=((3, 2),) * 3)
"""The same features, subsampled by 8 instead of 4."""


def _as_frames(samples: Tensor) -> Tensor:
    return samples[:, None]


SAMPLES = Input(
    "samples",
    SAMPLE_RATE,
    1,
    ((10, 5), *((3, 2),) * 4, *((2, 2),) * 2),
    _as_frames,
    {"kind": "samples", "sample_rate": SAMPLE_RATE, "samples": "mono, in [-1, 1]", "normalization": "none"},
)
"""Raw samples for wav2vec 2.0 encoders (arXiv 2006.11477): 320 samples, or 20 ms, per encoder frame."""

SAMPLES_80MS = replace(SAMPLES, name="samples-80ms", convolutions=((160, 160), *((1, 2),) * 3))
"""Raw samples for FastConformers (arXiv 2305.05084), whose own features have 10 ms; 1280 samples, or 80 ms,
per encoder frame. These convolutions pad, and so have the lengths of convolutions of width 1.
"""

SAMPLES_20MS = replace(SAMPLES, name="samples-20ms", convolutions=((400, 160), (2, 2)))
"""Raw samples for w2v-BERT 2.0 (arXiv 2312.05187): windows of 25 ms every 10 ms, two in an encoder frame."""

SAMPLES_20MS_CENTERED = replace(SAMPLES, name="samples-20ms-centered", convolutions=((0, 160), (1, 2)))
"""Raw samples for features whose windows are centered on multiples of 10 ms, from 0 to the end, two in an
encoder frame. Windows pad by half of their width on each side, and so count as windows of width 0.
"""

INPUTS = {
    input.name: input
    for input in (LOG_MEL, LOG_MEL_80MS, SAMPLES, SAMPLES_20MS, SAMPLES_20MS_CENTERED, SAMPLES_80MS)
}


def is_silent(samples: Tensor) -> bool:
    """Whether every sample is quieter than ``SILENCE``."""
    return samples.numel() == 0 or max(abs(float(x)) for x in samples.aminmax()) < SILENCE


def pad_features(features: list[Tensor]) -> Tensor:
    """Stack ``(T, F)`` tensors into ``(B, T, F)``, padded with zeros."""
    return torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
