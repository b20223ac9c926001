"""Augmentation of training batches: SpecAugment (arXiv 1904.08779) and frequency warping.

torchaudio's masks draw from the global random state. Ours are computed in NumPy: PyTorch would split this
little work between threads, which takes ten times as long on a busy machine.

Shapes: B utterances, T frames, F bands, N masks.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from supernet.audio.features import Input
from supernet.audio.specification import FRAMES_PER_SECOND
from supernet.config import Section

_Counts = NDArray[np.int64]


class SpecAugment(Section):
    """Time and frequency masks. Zero masks of a kind disable it.

    The adaptive masks of arXiv 1912.05533, whose number and length grow with the utterance, are
    ``time_masks=20, max_time_share=0.04``: one mask per 25 frames is their multiplicity of 0.04.
    Those of arXiv 2407.18930, two or more of up to 20 frames and at most one per 25 frames, are
    ``time_masks=1000, min_time_masks=2, max_time_frames=20``.
    """

    time_masks: int = Field(default=2, ge=0, le=1000)
    """Maximum number of time masks per utterance."""
    min_time_masks: int | None = Field(default=None, ge=0, le=1000)
    """Minimum number of time masks; the number is drawn for each utterance. None: always the maximum."""
    frames_per_time_mask: int = Field(default=25, ge=1)
    """An utterance has at most one time mask per this many frames."""
    max_time_frames: int = Field(default=10, ge=0)
    """Maximum length of a time mask in frames."""
    max_time_share: float | None = Field(default=None, ge=0, le=1)
    """Maximum length of a time mask as a share of the utterance, instead of `max_time_frames`."""
    freq_masks: int = Field(default=2, ge=0, le=100)
    """Maximum number of frequency masks per utterance."""
    min_freq_masks: int | None = Field(default=None, ge=0, le=100)
    """Minimum number of frequency masks. None: always the maximum."""
    max_freq_bands: int = Field(default=10, ge=0, le=80)
    """Maximum width of a frequency mask in bands."""

    def scaled_to(self, input: Input) -> SpecAugment:
        """Convert the masks, which count frames of 10 ms and bands, to the frames of ``input``; samples have
        no bands.
        """
        if input.is_log_mel:
            return self
        shift = input.rate // FRAMES_PER_SECOND
        frames = {name: getattr(self, name) * shift for name in ("frames_per_time_mask", "max_time_frames")}
        return self.model_copy(update={**frames, "freq_masks": 0})


def spec_augment(
    num_frames: list[int], num_bands: int, options: SpecAugment, rng: np.random.Generator
) -> Tensor:
    """Draw the masks of a batch: boolean, (B, T, F), true where features are hidden, false in padding.

    The features themselves stay as they are: the model applies the masks after normalization, which they must
    not affect.

    Args:
        num_frames: The length of each utterance.
        num_bands: The number of bands.
        options: The number and size of the masks.
        rng: The random generator to draw from.
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
    """Stretch the bands of each utterance by a factor of up to 1 ± ``largest``.

    This is vocal tract length perturbation (Jaitly and Hinton, 2013) along the mel bands. Padding stays zero.
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
    """Draw the number of masks of each utterance, between ``least`` and ``most_B``."""
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
    """Draw masks of 0 to ``max_width`` positions (one number for all, or (B, 1)), and mark which of ``size``
    positions lie in one of the first ``count_B``.
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
