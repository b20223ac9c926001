"""What SpecAugment may and may not change."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from supernet.features import NUM_BANDS
from tasks.augmentation import SpecAugment, spec_augment, warp_frequencies

lengths = st.lists(st.integers(1, 300), min_size=1, max_size=5)
seeds = st.integers(0, 2**32)
some_times = settings(max_examples=40, deadline=None)


def padded(num_frames: list[int]) -> Tensor:
    features = torch.randn(
        len(num_frames), max(num_frames), NUM_BANDS, generator=torch.Generator().manual_seed(0)
    )
    for row, length in zip(features, num_frames, strict=True):
        row[length:] = 0
    return features


def augment(features: Tensor, num_frames: list[int], options: SpecAugment, seed: int = 0) -> Tensor:
    return spec_augment(features, num_frames, options, np.random.default_rng(seed))


@some_times
@given(lengths, seeds)
def test_padding_stays_zero_and_the_input_as_it_was(num_frames: list[int], seed: int) -> None:
    features = padded(num_frames)
    before = features.clone()
    augmented = augment(features, num_frames, SpecAugment(), seed)
    assert torch.equal(features, before)
    assert augmented.isfinite().all()
    for row, length in zip(augmented, num_frames, strict=True):
        assert not row[length:].any()


@some_times
@given(lengths, seeds)
def test_what_is_hidden_is_the_mean_of_its_band(num_frames: list[int], seed: int) -> None:
    features = padded(num_frames)
    augmented = augment(features, num_frames, SpecAugment(), seed)
    for ours, theirs, length in zip(augmented, features, num_frames, strict=True):
        mean = theirs[:length].mean(dim=0).expand(length, NUM_BANDS)
        hidden = ours[:length] != theirs[:length]
        torch.testing.assert_close(ours[:length][hidden], mean[hidden], rtol=1e-4, atol=1e-5)


@some_times
@given(lengths, seeds, st.integers(0, 6), st.integers(0, 30))
def test_no_more_time_is_hidden_than_allowed(
    num_frames: list[int], seed: int, masks: int, width: int
) -> None:
    options = SpecAugment(time_masks=masks, max_time_frames=width, freq_masks=0)
    features = padded(num_frames)
    changed = (augment(features, num_frames, options, seed) != features).any(dim=2).sum(dim=1)
    for hidden, length in zip(changed.tolist(), num_frames, strict=True):
        assert hidden <= min(masks, length // options.frames_per_time_mask) * width


@some_times
@given(lengths, seeds, st.integers(1, 100), st.floats(0, 1))
def test_adaptive_masks_grow_with_the_utterance(
    num_frames: list[int], seed: int, frames_per_mask: int, share: float
) -> None:
    options = SpecAugment(
        time_masks=20, frames_per_time_mask=frames_per_mask, max_time_share=share, freq_masks=0
    )
    features = padded(num_frames)
    changed = (augment(features, num_frames, options, seed) != features).any(dim=2).sum(dim=1)
    for hidden, length in zip(changed.tolist(), num_frames, strict=True):
        assert hidden <= min(20, length // frames_per_mask) * int(share * length)


def test_adaptive_masks_reach_their_length_in_every_utterance() -> None:
    """One mask each, up to half of the utterance; over many draws the longest is seen."""
    lengths, options = [40, 200], SpecAugment(time_masks=1, max_time_share=0.5, freq_masks=0)
    features = padded(lengths)
    longest = [0, 0]
    for seed in range(600):
        changed = (augment(features, lengths, options, seed) != features).any(dim=2).sum(dim=1).tolist()
        longest = [max(pair) for pair in zip(longest, changed, strict=True)]
    assert longest == [20, 100]


@some_times
@given(lengths, seeds, st.integers(0, 4), st.integers(0, 30))
def test_no_more_bands_are_hidden_than_allowed(
    num_frames: list[int], seed: int, masks: int, width: int
) -> None:
    options = SpecAugment(time_masks=0, freq_masks=masks, max_freq_bands=width)
    features = padded(num_frames)
    changed = (augment(features, num_frames, options, seed) != features).any(dim=1).sum(dim=1)
    assert all(hidden <= masks * width for hidden in changed.tolist())


def test_without_masks_nothing_changes() -> None:
    features = padded([100, 50])
    assert torch.equal(augment(features, [100, 50], SpecAugment(time_masks=0, freq_masks=0)), features)


def test_the_seed_alone_decides() -> None:
    features = padded([200])
    assert torch.equal(augment(features, [200], SpecAugment(), 1), augment(features, [200], SpecAugment(), 1))
    assert not torch.equal(
        augment(features, [200], SpecAugment(), 1), augment(features, [200], SpecAugment(), 2)
    )


def test_utterances_are_hidden_differently() -> None:
    features = padded([200, 200])
    changed = augment(features, [200, 200], SpecAugment()) != features
    assert not torch.equal(changed[0], changed[1])


@given(largest=st.floats(0.01, 0.4), seed=st.integers(0, 2**32 - 1))
def test_warping_moves_bands_by_one_factor_per_utterance(largest: float, seed: int) -> None:
    bands = torch.arange(80, dtype=torch.float32)
    warped_BTF = warp_frequencies(bands.expand(3, 4, 80), largest, np.random.default_rng(seed))
    for utterance_TF in warped_BTF:
        factor = float(utterance_TF[0, 40]) / 40
        assert 1 - largest - 1e-6 <= factor <= 1 + largest + 1e-6
        expected_TF = (bands * factor).clamp(max=79).expand(4, 80)
        torch.testing.assert_close(utterance_TF, expected_TF, rtol=0, atol=1e-3)


def test_warping_by_nothing_changes_nothing() -> None:
    features_BTF = torch.randn(2, 5, 80)
    assert warp_frequencies(features_BTF, 0.0, np.random.default_rng(0)) is features_BTF


def test_padding_stays_zero_when_frequencies_are_warped() -> None:
    features_BTF = torch.cat([torch.randn(2, 5, 80), torch.zeros(2, 3, 80)], dim=1)
    warped_BTF = warp_frequencies(features_BTF, 0.2, np.random.default_rng(0))
    assert warped_BTF[:, 5:].abs().max() == 0
    assert not torch.equal(warped_BTF[:, :5], features_BTF[:, :5])
