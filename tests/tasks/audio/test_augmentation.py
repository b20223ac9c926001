"""Properties of SpecAugment and of frequency warping."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from supernet.audio.specification import NUM_BANDS, SAMPLE_RATE
from supernet.network.frontend import Frontend
from supernet.task import SPLITS
from tasks.audio.augmentation import SpecAugment, spec_augment, warp_frequencies
from tasks.store.manifest_folder import Clip, write_split
from tests.tasks.folders import prepared, tone

lengths = st.lists(st.integers(1, 300), min_size=1, max_size=5)
seeds = st.integers(0, 2**32)
some_times = settings(max_examples=40, deadline=None)


def augment(num_frames: list[int], options: SpecAugment, seed: int = 0) -> Tensor:
    """Draw masks (B, T, F)."""
    return spec_augment(num_frames, NUM_BANDS, options, np.random.default_rng(seed))


@some_times
@given(lengths, seeds)
def test_nothing_is_masked_after_an_utterance(num_frames: list[int], seed: int) -> None:
    hidden = augment(num_frames, SpecAugment(), seed)
    assert hidden.dtype == torch.bool
    assert hidden.shape == (len(num_frames), max(num_frames), NUM_BANDS)
    for row, length in zip(hidden, num_frames, strict=True):
        assert not row[length:].any()


@some_times
@given(lengths, seeds)
def test_whole_frames_and_whole_bands_are_masked(num_frames: list[int], seed: int) -> None:
    for row, length in zip(augment(num_frames, SpecAugment(), seed), num_frames, strict=True):
        frames, bands = row[:length].all(dim=1), row[:length].all(dim=0)
        assert torch.equal(row[:length], frames[:, None] | bands[None])


@some_times
@given(lengths, seeds, st.integers(0, 6), st.integers(0, 30))
def test_no_more_frames_are_masked_than_allowed(
    num_frames: list[int], seed: int, masks: int, width: int
) -> None:
    options = SpecAugment(time_masks=masks, max_time_frames=width, freq_masks=0)
    changed = augment(num_frames, options, seed).any(dim=2).sum(dim=1)
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
    changed = augment(num_frames, options, seed).any(dim=2).sum(dim=1)
    for hidden, length in zip(changed.tolist(), num_frames, strict=True):
        assert hidden <= min(20, length // frames_per_mask) * int(share * length)


def test_adaptive_masks_reach_their_length_in_every_utterance() -> None:
    """With one mask of up to half the utterance each, many draws reach the maximum."""
    lengths, options = [40, 200], SpecAugment(time_masks=1, max_time_share=0.5, freq_masks=0)
    longest = [0, 0]
    for seed in range(600):
        changed = augment(lengths, options, seed).any(dim=2).sum(dim=1).tolist()
        longest = [max(pair) for pair in zip(longest, changed, strict=True)]
    assert longest == [20, 100]


@some_times
@given(lengths, seeds, st.integers(0, 4), st.integers(0, 30))
def test_no_more_bands_are_masked_than_allowed(
    num_frames: list[int], seed: int, masks: int, width: int
) -> None:
    options = SpecAugment(time_masks=0, freq_masks=masks, max_freq_bands=width)
    changed = augment(num_frames, options, seed).any(dim=1).sum(dim=1)
    assert all(hidden <= masks * width for hidden in changed.tolist())


def test_without_masks_nothing_is_masked() -> None:
    assert not augment([100, 50], SpecAugment(time_masks=0, freq_masks=0)).any()


def test_masks_are_determined_by_the_seed() -> None:
    assert torch.equal(augment([200], SpecAugment(), 1), augment([200], SpecAugment(), 1))
    assert not torch.equal(augment([200], SpecAugment(), 1), augment([200], SpecAugment(), 2))


def test_utterances_get_different_masks() -> None:
    hidden = augment([200, 200], SpecAugment())
    assert not torch.equal(hidden[0], hidden[1])


@pytest.mark.parametrize("seconds", [2, 6, 12])
def test_unmasked_features_are_those_of_inference(seconds: int, tmp_path: Path) -> None:
    """Masked parts are 0 and the others unchanged, for utterances and masks of any length."""
    heard = []
    for split in SPLITS:
        audio = np.random.default_rng(0).normal(0, 0.1, seconds * SAMPLE_RATE) * tone(seconds, 3.0)
        write_split(tmp_path / "noise", split, [Clip("a", "abc", torch.from_numpy(audio).float(), "x", {})])
    masks = {"time_masks": 10, "max_time_frames": 30, "freq_masks": 3, "max_freq_bands": 20}
    task = prepared(tmp_path / "noise", spec_augment=masks, frequency_warp=0, speed_perturb=[])
    tokens = task.tokens()
    training = next(task.train_reader(tokens, seed=0, rank=0, num_ranks=1))
    (in_use,) = task.eval_batches("test", tokens)
    frontend = Frontend(2, 8, 0.0).eval()
    for batch in (training, in_use):
        batch_heard: list[Tensor] = []
        frontend.conv1.register_forward_pre_hook(lambda _, x, into=batch_heard: into.append(x[0][:, 0]))
        frontend.embed(batch.features_BTF, batch.num_frames, batch.hidden_BTF)
        heard.append(batch_heard[0])
    hidden = training.hidden_BTF
    assert hidden is not None
    assert in_use.hidden_BTF is None
    assert 0.1 < hidden.float().mean() < 0.9
    assert not heard[0][hidden].any()
    torch.testing.assert_close(heard[0][~hidden], heard[1][~hidden], rtol=0, atol=1e-5)
    assert heard[1][hidden].abs().max() > 0.5


@given(largest=st.floats(0.01, 0.4), seed=st.integers(0, 2**32 - 1))
def test_warping_scales_frequencies_by_one_factor_per_utterance(largest: float, seed: int) -> None:
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


def test_warping_leaves_padding_at_zero() -> None:
    features_BTF = torch.cat([torch.randn(2, 5, 80), torch.zeros(2, 3, 80)], dim=1)
    warped_BTF = warp_frequencies(features_BTF, 0.2, np.random.default_rng(0))
    assert warped_BTF[:, 5:].abs().max() == 0
    assert not torch.equal(warped_BTF[:, :5], features_BTF[:, :5])


@pytest.mark.parametrize("seconds", [12, 16])
def test_published_masks_cover_a_fifth_of_the_frames(seconds: int) -> None:
    """At least two masks of up to 20 frames, at most one per 25 frames (arXiv 2407.18930)."""
    options = SpecAugment(time_masks=1000, min_time_masks=2, max_time_frames=20, freq_masks=0)
    hidden = augment([100 * seconds] * 100, options)[:, :, 0]
    assert float(hidden.float().mean()) == pytest.approx(0.19, abs=0.02)
    by_utterance = hidden.float().mean(dim=1)
    assert by_utterance.min() < 0.08  # few masks; below, many
    assert by_utterance.max() > 0.28


@some_times
@given(seeds, st.integers(0, 6), st.integers(0, 6))
def test_the_number_of_masks_is_within_its_bounds(seed: int, least: int, more: int) -> None:
    """Masks are one band wide, so there are as many masked bands as masks, unless some masks coincide."""
    options = SpecAugment(time_masks=0, freq_masks=least + more, min_freq_masks=least, max_freq_bands=1)
    hidden = augment([50] * 40, options, seed).any(dim=1).sum(dim=1)
    assert int(hidden.max()) <= least + more
    if more == 0:
        same = SpecAugment(time_masks=0, freq_masks=least, max_freq_bands=1)
        assert int(augment([50] * 40, same, seed).any(dim=1).sum(dim=1).max()) <= least


def test_the_minimum_number_of_masks_does_not_apply_to_short_utterances() -> None:
    options = SpecAugment(time_masks=1000, min_time_masks=2, max_time_frames=20, freq_masks=0)
    assert not augment([24], options).any()  # one mask per 25 frames, so none
