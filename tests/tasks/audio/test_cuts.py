"""Features of cuts, which are the same in training and transcription at any sampling rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from lhotse import Recording
from lhotse.cut import Cut

from supernet.audio.features import fbank
from supernet.audio.recordings import read_audio
from supernet.errors import AudioError
from tasks.audio.cuts import load_features, load_samples
from tests.tasks.folders import tone, write_wav


def noise(path: Path, rate: int, seconds: float = 1.3, channels: int = 1) -> Path:
    samples = np.random.default_rng(rate).uniform(-0.5, 0.5, (round(rate * seconds), channels))
    return write_wav(path, samples, rate)


def assert_same(found: torch.Tensor, lhotses: Cut) -> None:
    """Compare all samples except the last: Lhotse rounds the length, and the resampler keeps the sample."""
    expected = torch.from_numpy(lhotses.load_audio()[0])
    assert torch.equal(found[: len(expected)], expected)
    assert len(found) - len(expected) in (0, 1)


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000])
def test_resampling_of_usual_rates_equals_lhotses_bit_by_bit(rate: int, tmp_path: Path) -> None:
    cut = Recording.from_file(noise(tmp_path / "a.wav", rate)).to_cut()
    for part in (cut, cut.truncate(offset=0.25, duration=0.5)):
        assert_same(load_samples(part), part.resample(16_000))


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_perturbation_equals_lhotses(speed: float, tmp_path: Path) -> None:
    cut = Recording.from_file(noise(tmp_path / "a.wav", 16_000)).to_cut()
    assert_same(load_samples(cut, speed), cut.perturb_speed(speed))


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000, 16_001, 44_101, 191_999])
@pytest.mark.parametrize("channels", [1, 2])
def test_training_and_transcription_have_the_same_features(rate: int, channels: int, tmp_path: Path) -> None:
    path = noise(tmp_path / "a.wav", rate, channels=channels)
    heard = torch.cat(list(read_audio(path)))
    features = load_features(Recording.from_file(path).to_cut())
    torch.testing.assert_close(features, fbank(heard), atol=2e-3, rtol=0)
    assert abs(len(heard) - 1.3 * 16_000) <= 1


@pytest.mark.parametrize("rate", [16_001, 44_101, 191_999])
@pytest.mark.parametrize("speed", [0.9, 1.0, 1.1])
def test_unusual_rates_are_resampled_at_any_speed(rate: int, speed: float, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", tone(1.0, 440, rate), rate)
    samples = load_samples(Recording.from_file(path).to_cut(), speed)
    assert abs(len(samples) - 16_000 / speed) <= 2
    loudest = int(torch.fft.rfft(samples[:8000] * torch.hann_window(8000)).abs().argmax())
    assert loudest == pytest.approx(440 * speed / 2, abs=1)


def test_finite_samples_with_infinite_features_are_an_error(tmp_path: Path) -> None:
    samples = tone(1.0)
    samples[5000] = 1e25
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    cut = Recording.from_file(tmp_path / "a.wav").to_cut()
    with pytest.raises(AudioError, match=r"not finite: features of samples up to 1e\+25, where 1 is full"):
        load_features(cut)


@pytest.mark.parametrize("suffix", ["flac", "ogg", "wav", "mp3"])
def test_a_truncated_file_is_an_error(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 80_000), 16_000)
    cut = Recording.from_file(path).to_cut()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(
        AudioError, match=r"cannot be decoded: (flac decoder lost sync|its length is not what)"
    ):
        load_samples(cut)
    path.unlink()
    with pytest.raises(AudioError, match=rf"no such file: '.*a\.{suffix}'"):
        load_samples(cut)
