"""Features equal Kaldi's with the settings of deployed recognizers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.compliance import kaldi

from supernet.audio.features import LOG_MEL, fbank, is_silent, pad_features


def noise(num_samples: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(num_samples, generator=torch.Generator().manual_seed(seed)) * 0.1


def test_features_equal_kaldis_with_the_settings_of_deployment() -> None:
    samples = noise(8123)
    expected = kaldi.fbank(
        samples[None],
        num_mel_bins=80,
        sample_frequency=16000.0,
        frame_length=25.0,
        frame_shift=10.0,
        snip_edges=False,
        dither=0.0,
        low_freq=20.0,
        high_freq=-400.0,
        window_type="povey",
        preemphasis_coefficient=0.97,
        remove_dc_offset=True,
        use_energy=False,
        use_log_fbank=True,
        use_power=True,
        round_to_power_of_two=True,
    )
    assert expected.shape == (51, 80)
    assert torch.equal(fbank(samples), expected)


def test_features_are_deterministic_and_shift_with_the_level() -> None:
    samples = noise(4000)
    first = fbank(samples)
    assert torch.equal(first, fbank(samples))
    louder = fbank(2 * samples) - first
    torch.testing.assert_close(louder, torch.full_like(louder, 2 * 0.6931472), atol=1e-3, rtol=0)


@settings(max_examples=40)
@given(st.integers(400, 20_000))
def test_the_number_of_frames_is_predicted(num_samples: int) -> None:
    assert len(fbank(noise(num_samples))) == LOG_MEL.num_frames(num_samples)


@pytest.mark.parametrize("num_samples", [400, 479, 480, 559, 560, 719, 720, 721, 1599, 1600, 16_000])
def test_the_number_of_frames_is_predicted_at_its_boundaries(num_samples: int) -> None:
    assert len(fbank(noise(num_samples))) == LOG_MEL.num_frames(num_samples)


def test_samples_below_minus_80_decibels_are_silent() -> None:
    assert is_silent(torch.zeros(100))
    assert is_silent(torch.zeros(0))
    assert is_silent(torch.full((100,), 9e-5))
    assert not is_silent(torch.tensor([0.0, -2e-4]))


def test_features_are_padded_with_zeros() -> None:
    padded = pad_features([torch.ones(2, 80), torch.ones(5, 80)])
    assert padded.shape == (2, 5, 80)
    assert padded.sum(dim=(1, 2)).tolist() == [160, 400]
    assert not padded[0, 2:].any()
