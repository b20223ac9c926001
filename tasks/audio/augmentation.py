"""What the recognizer hears differently each time: SpecAugment (arXiv 1904.08779) and warped frequencies.

torchaudio's masks draw from the global random state. Ours are NumPy's: PyTorch would share this little work
between threads, which on a busy machine takes ten times as long.

Shapes: B utterances, T frames, F bands, N masks.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

_Counts = NDArray[np.int64]


class SpecAugment(BaseModel):
    """How much is hidden. Zero masks of a kind disable it.

    The adaptive masks of arXiv 1912.05533, whose number and length grow with the utterance, are
    ``time_masks=20, max_time_share=0.04``: one mask per 25 frames is their multiplicity of 0.04.
    Those of arXiv 2407.18930, two or more of up to 20 frames and at most one per 25 frames, are
    ``time_masks=1000, min_time_masks=2, max_time_frames=20``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    time_masks: int = Field(default=2, ge=0, le=1000)
    """The most time masks of an utterance."""
    min_time_masks: int | None = Field(default=None, ge=0, le=1000)
    """Their number is drawn for each utterance, between this and the most it may have. None: the most."""
    frames_per_time_mask: int = Field(default=25, ge=1)
    """An utterance has at most one time mask per so many frames."""
    max_time_frames: int = Field(default=10, ge=0)
    """The longest time mask, in frames."""
    max_time_share: float | None = Field(default=None, ge=0, le=1)
    """The longest time mask as a share of the utterance, instead of `max_time_frames`."""
    freq_masks: int = Field(default=2, ge=0, le=100)
    """Frequency masks of an utterance."""
    min_freq_masks: int | None = Field(default=None, ge=0, le=100)
    """Likewise for frequency masks. None: always `freq_masks`."""
    max_freq_bands: int = Field(default=10, ge=0, le=80)
    """The widest frequency mask, in bands."""


def spec_augment(
    num_frames: list[int], num_bands: int, options: SpecAugment, rng: np.random.Generator
) -> Tensor:
    """What masks drawn from ``rng`` hide of utterances of so many frames, boolean, (B, T, F); no padding.

    The features stay as they are: the model hides once it has normalized, or what is left of an utterance
    would look other in training than in use.
    """
    B, T, F = len(num_frames), max(num_frames), num_bands
    length_B = np.array(num_frames)
    most_B = np.minimum(length_B // options.frames_per_time_mask, options.time_masks)
    count_B = _drawn(most_B, options.min_time_masks, rng)
    longest: int | _Counts = options.max_time_frames
    if options.max_time_share is not None:
        longest = (options.max_time_share * length_B).astype(np.int64)[:, None]
    hide_BT = _masks(T, length_B, count_B, options.time_masks, longest, rng)
    every_B = _drawn(np.full(B, options.freq_masks), options.min_freq_masks, rng)
    hide_BF = _masks(F, np.full(B, F), every_B, options.freq_masks, options.max_freq_bands, rng)

    real_BT = np.arange(T) < length_B[:, None]
    return torch.from_numpy((hide_BT[:, :, None] | hide_BF[:, None, :]) & real_BT[:, :, None])


def warp_frequencies(features_BTF: Tensor, largest: float, rng: np.random.Generator) -> Tensor:
    """Each utterance with its bands stretched by a factor of up to 1 ± ``largest``: speakers of other sizes.

    Vocal tract length perturbation (Jaitly and Hinton, 2013) along the mel bands. Padding stays zero.
    """
    if not largest:
        return features_BTF
    features = features_BTF.numpy()
    last = features.shape[2] - 1
    factor_B1 = rng.uniform(1 - largest, 1 + largest, size=(len(features), 1))
    place_BF = np.minimum(np.arange(last + 1) * factor_B1, last)
    low_BF = np.floor(place_BF).astype(np.int64)
    high_BF = np.minimum(low_BF + 1, last)
    weight_B1F = (place_BF - low_BF).astype(np.float32)[:, None]
    low_BTF, high_BTF = (np.take_along_axis(features, i[:, None], axis=2) for i in (low_BF, high_BF))
    return torch.from_numpy(low_BTF + weight_B1F * (high_BTF - low_BTF))


def _drawn(most_B: _Counts, least: int | None, rng: np.random.Generator) -> _Counts:
    """How many masks each utterance has: between ``least`` and the most."""
    if least is None:
        return most_B
    return rng.integers(np.minimum(least, most_B), most_B + 1)


def _masks(
    size: int,
    length_B: _Counts,
    count_B: _Counts,
    num_masks: int,
    max_width: int | _Counts,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Which of ``size`` positions are in one of the first ``count_B`` masks, each 0 to ``max_width`` wide:
    one number for all, or (B, 1).
    """
    width_BN = rng.integers(0, max_width + 1, size=(len(length_B), num_masks))
    width_BN = np.minimum(width_BN, length_B[:, None])
    start_BN = rng.integers(0, length_B[:, None] - width_BN + 1)
    width_BN = width_BN * (np.arange(num_masks) < count_B[:, None])

    width_BN, start_BN = (drawn[:, : max(count_B, default=0)] for drawn in (width_BN, start_BN))
    position = np.arange(size)
    inside_BNS = (position >= start_BN[..., None]) & (position < (start_BN + width_BN)[..., None])
    hidden: NDArray[np.bool_] = np.logical_or.reduce(inside_BNS, axis=1)
    return hidden
