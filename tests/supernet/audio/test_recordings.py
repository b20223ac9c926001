"""Streaming of audio at any sampling rate, in any container: blocks equal the whole recording."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchaudio.functional
from hypothesis import given, settings
from hypothesis import strategies as st

from supernet.audio import recordings as audio
from supernet.audio import resampling
from supernet.audio.recordings import mono, read_audio
from supernet.audio.resampling import resample_blocks
from supernet.errors import AudioError
from tests.tasks.folders import tone


def whole(file: Path) -> torch.Tensor:
    return torch.cat(list(read_audio(file)))


@settings(max_examples=12)
@given(st.sampled_from([8000, 11025, 12000, 22050, 24000, 44100, 48000]), st.integers(1, 30_000), st.data())
def test_resampling_in_blocks_equals_resampling_at_once(rate: int, length: int, data: st.DataObject) -> None:
    samples = torch.randn(length, generator=torch.Generator().manual_seed(length))
    block = data.draw(st.integers(max(1, length // 9), length))
    streamed = torch.cat(list(resample_blocks(torch.split(samples, block), rate)))
    expected = torchaudio.functional.resample(samples, rate, 16_000)
    assert streamed.shape == expected.shape
    torch.testing.assert_close(streamed, expected, atol=1e-4, rtol=0)


def test_an_unusual_rate_is_resampled_accurately() -> None:
    samples = torch.cat(list(resample_blocks([torch.from_numpy(tone(1.0, rate=44_101))], 44_101)))
    assert abs(len(samples) - 16_000) <= 1
    expected = torch.from_numpy(tone(1.0))[: len(samples)]
    torch.testing.assert_close(samples[500:15_000], expected[500:15_000], atol=5e-3, rtol=0)


@pytest.mark.parametrize("rate", [1000, 1009, 8001, 16_001, 44_101, 191_999, 999_983, 1_000_000])
def test_filters_are_small_at_all_rates(rate: int) -> None:
    """Both at once and in blocks, which are accurate as well."""
    samples = torch.from_numpy(tone(0.5, 40, rate))
    for found in (
        resampling.resample(samples, rate),
        torch.cat(list(resample_blocks(torch.split(samples, 9999), rate))),
    ):
        assert abs(len(found) - len(samples) * 16_000 / rate) <= 2
        torch.testing.assert_close(
            found[2000:6000], torch.from_numpy(tone(0.5, 40))[2000:6000], atol=2e-2, rtol=0
        )
    ratio = resampling._ratio(rate)
    assert ratio.numerator * ratio.denominator <= 5_000_000, "size of the filter"


@pytest.mark.parametrize("rate", [0, 1, 999, 1_000_001, 2**31 - 1])
def test_implausible_sampling_rates_are_errors(rate: int) -> None:
    with pytest.raises(AudioError, match=f"sampling rate must be from 1000 to 1000000 Hz, but is {rate}"):
        list(resample_blocks([torch.zeros(9)], rate))


def test_pipes_are_read_like_files(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", tone(20.0), 16_000)
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    assert audio.seconds(fifo) == 0, "a pipe must neither be waited for nor read"
    reading, writing = os.pipe()
    for target, name in ((fifo, fifo), (writing, Path(f"/dev/fd/{reading}"))):
        command = ["sh", "-c", f"cat a.flac > {fifo}"] if target == fifo else ["cat", "a.flac"]
        with subprocess.Popen(command, cwd=tmp_path, stdout=None if target == fifo else writing):
            if target == writing:
                os.close(writing)
            assert torch.equal(whole(name), whole(tmp_path / "a.flac"))
    os.close(reading)


def test_reading_stops_if_a_stream_does_not_begin_like_audio() -> None:
    for endless in ("/dev/zero", "/dev/urandom"):
        with pytest.raises(AudioError, match=r"Format not recogni[sz]ed"):
            whole(Path(endless))
    with pytest.raises(AudioError, match="it is empty"):
        whole(Path("/dev/null"))


def test_files_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Including one that is not UTF-8, and one that libsndfile would take for standard input."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", tone(1.0), 16_000)
    for name in (os.fsdecode(b"caf\xe9.wav"), "-", "talk [dQw4].wav"):
        os.rename("a.wav", name)
        assert len(whole(Path(name))) == 16_000
        assert audio.seconds(Path(name)) == 1
        os.rename(name, "a.wav")
    os.rename("a.wav", "a.raw")
    with pytest.raises(AudioError, match="have no header"):
        whole(Path("a.raw"))
    assert audio.seconds(Path("a.raw")) == 0


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_all_containers_are_read(tmp_path: Path, suffix: str) -> None:
    soundfile.write(tmp_path / f"a.{suffix}", tone(1.0, rate=44_100), 44_100)
    assert f".{suffix}" in audio.extensions()
    samples = whole(tmp_path / f"a.{suffix}")
    assert abs(len(samples) - 16_000) < 2500  # lossy formats add padding
    assert samples[4000:12_000].abs().max() == pytest.approx(0.5, abs=0.05)


def test_any_rate_and_number_of_channels_is_converted(tmp_path: Path) -> None:
    first = torch.from_numpy(tone(1.0))
    for name, rate, channels in (("a.wav", 16_000, 1), ("b.wav", 8_000, 2), ("c.flac", 44_100, 3)):
        soundfile.write(tmp_path / name, np.stack([tone(1.0, rate=rate)] * channels, axis=1), rate)
        samples = whole(tmp_path / name)
        assert len(samples) == 16_000
        middle = slice(1000, -1000)  # resampling rings at the ends
        torch.testing.assert_close(samples[middle], first[middle], atol=5e-3, rtol=0)


def test_channels_are_averaged_and_integers_scaled() -> None:
    assert torch.equal(mono(np.array([[0.5, 0.0], [1.0, -1.0]])), torch.tensor([0.25, 0.0]))
    assert torch.equal(mono(np.array([-32768, 16384], dtype=np.int16)), torch.tensor([-1.0, 0.5]))


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (torch.zeros(1, 2, 3), r"must be numbers of the shape \(S,\) or \(S, C\)"),
        (torch.zeros(3, dtype=torch.bool), "must be numbers"),
        (torch.tensor([0.0, float("nan")]), "must be finite"),
    ],
)
def test_invalid_samples_are_errors(samples: torch.Tensor, words: str) -> None:
    with pytest.raises(AudioError, match=words):
        mono(samples)


def test_unreadable_files_are_errors_even_if_damaged_in_the_middle(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(0).uniform(-0.5, 0.5, 800_000), 16_000, format="flac")
    data = bytearray(buffer.getvalue())
    data[len(data) // 2 :] = b"\x55" * (len(data) - len(data) // 2)
    (tmp_path / "broken.flac").write_bytes(data)
    (tmp_path / "short.wav").write_bytes(b"RIFF")
    reasons = {
        "broken.flac": "lost sync",
        "short.wav": r"\w",
        "gone.wav": "there is no such file",
        ".": "is a folder",
    }
    for name, words in reasons.items():
        with pytest.raises(AudioError, match=words):
            whole(tmp_path / name)
    assert audio.seconds(tmp_path / "gone.wav") == 0
    assert audio.seconds(tmp_path / "short.wav") == 0


def test_the_length_of_blocks_does_not_depend_on_that_of_the_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.flac", np.tile(tone(1.0, rate=8000), 90), 8000)
    lengths = [len(block) for block in read_audio(tmp_path / "long.flac")]
    assert sum(lengths) == 90 * 16_000
    assert max(lengths) <= 2 * audio.BLOCK_SECONDS * 16_000
    assert audio.seconds(tmp_path / "long.flac") == 90
