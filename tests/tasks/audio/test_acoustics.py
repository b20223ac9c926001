"""Noise and echo: their levels and timing, and that only the random generator determines them."""

from __future__ import annotations

import itertools
import os
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from supernet.audio.features import fbank
from supernet.task import Batch, TaskError
from tasks.audio.acoustics import Acoustics, Noise, Reverb, Room, find_audio, reverberate, segment
from tasks.manifest import Manifest
from tests.tasks.folders import prepared, tone, write_folder, write_wav

PLAIN = {"spec_augment": {"time_masks": 0, "freq_masks": 0}, "frequency_warp": 0}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise of three durations and sampling rates, and impulse responses of two rooms."""
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for i, (seconds, rate) in enumerate([(5.0, 16_000), (0.3, 8_000), (2.0, 44_100)]):
        write_wav(folder / f"noise/deep/{i}.wav", 0.1 * rng.standard_normal(round(seconds * rate)), rate)
    for i, decay in enumerate([20, 60]):
        response = rng.standard_normal((4000, 2)) * np.exp(-np.arange(4000) / 16 / decay)[:, None] * 0.1
        response[100] = 1.0
        write_wav(folder / f"rooms/{i}.flac", response.clip(-1, 1))
    return folder


def test_noise_has_the_requested_signal_to_noise_ratio(sounds: Path) -> None:
    speech = torch.from_numpy(tone(1.0))
    for file, snr in itertools.product(find_audio(sounds / "noise", "noise"), (-5.0, 0.0, 17.5)):
        added = Room(None, file, snr, start=0.4)(speech) - speech
        assert len(added) == len(speech)
        found = 10 * torch.log10(speech.square().sum() / added.square().sum())
        assert float(found) == pytest.approx(snr, abs=0.01)


def test_a_segment_begins_at_the_given_fraction_of_the_noise(tmp_path: Path) -> None:
    ramp = np.arange(32_000) / 40_000
    file = write_wav(tmp_path / "ramp.wav", ramp.astype(np.float32))
    for start in (0.0, 0.5, 0.99):
        offset = int(start * (32_000 - 16_001))
        found = segment(file, 16_000, start)
        np.testing.assert_allclose(found, ramp[offset : offset + 16_000], atol=1e-4)


def test_a_short_noise_is_repeated(tmp_path: Path) -> None:
    ramp = np.arange(400) / 400
    file = write_wav(tmp_path / "short.wav", ramp.astype(np.float32))
    expected = np.tile(ramp, 5)[100 : 100 + 1000]
    np.testing.assert_allclose(segment(file, 1000, 0.25), expected, atol=1e-4)


@given(st.integers(1, 500), st.integers(0, 300))
def test_the_delay_and_level_of_a_room_are_compensated(length: int, delay: int) -> None:
    speech = torch.randn(length, generator=torch.Generator().manual_seed(length))
    response = torch.zeros(delay + 20)
    response[delay] = -0.3
    torch.testing.assert_close(reverberate(speech, response), -speech, atol=1e-4, rtol=1e-4)


def test_an_echo_equals_a_hand_computed_one() -> None:
    speech, response = torch.tensor([1.0, 0.0, 2.0, 0.0]), torch.tensor([0.0, 1.0, 0.0, 0.5])
    wet = torch.tensor([1.0, 0.0, 2.5, 0.0])
    torch.testing.assert_close(reverberate(speech, response), wet * (5**0.5 / wet.norm()))


def test_silence_stays_silent_and_silent_noise_changes_nothing(tmp_path: Path, sounds: Path) -> None:
    echo = find_audio(sounds / "rooms", "reverb")[0]
    silent = write_wav(tmp_path / "silent.wav", np.zeros(20_000))
    assert not Room(echo, None, 0.0, 0.0)(torch.zeros(500)).any()
    speech = torch.from_numpy(tone(0.5))
    assert torch.equal(Room(None, silent, 0.0, 0.5)(speech), speech)


def test_only_the_generator_determines_what_is_drawn(sounds: Path) -> None:
    reverb, noise = (
        Reverb(folder=sounds / "rooms", probability=0.25),
        Noise(folder=sounds / "noise", snr=(3, 9)),
    )
    draws = [Acoustics(reverb, noise).draw(random.Random(i)) for i in range(2000)]
    assert draws == [Acoustics(reverb, noise).draw(random.Random(i)) for i in range(2000)]
    rooms = [room for room in draws if room is not None]
    echoes, noises = [r for r in rooms if r.echo], [r for r in rooms if r.noise]
    assert len(echoes) / 2000 == pytest.approx(0.25, abs=0.04)
    assert len(noises) / 2000 == pytest.approx(0.5, abs=0.04)
    assert len(rooms) / 2000 == pytest.approx(1 - 0.75 * 0.5, abs=0.04)
    assert {room.noise for room in noises} == {*find_audio(sounds / "noise", "noise")}
    assert all(3 <= room.snr <= 9 and 0 <= room.start < 1 for room in noises)
    assert min(room.snr for room in noises) < 3.5
    assert max(room.snr for room in noises) > 8.5


def task(folder: Path, sounds: Path, probability: float, **options: object) -> Manifest:
    """A task on ``folder`` that adds echo and noise in training."""
    reverb = {"folder": sounds / "rooms", "probability": probability}
    noise = {"folder": sounds / "noise", "probability": probability}
    return prepared(folder, batch_seconds=4.0, reverb=reverb, noise=noise, **options)


def batches(task: Manifest, number: int, state: dict[str, object] | None = None) -> list[Batch]:
    reader = task.train_reader(task.tokens(), seed=0, rank=0, num_ranks=1)
    if state is not None:
        reader.load_state_dict(state)
    return list(itertools.islice(reader, number))


def test_training_uses_the_drawn_room(tmp_path: Path, sounds: Path) -> None:
    folder = write_folder(tmp_path / "tones", train=1)
    (batch,) = batches(task(folder, sounds, 1.0, **PLAIN), 1)
    room = Acoustics(
        Reverb(folder=sounds / "rooms", probability=1), Noise(folder=sounds / "noise", probability=1)
    ).draw(random.Random("0/0/0/rooms"))
    assert room is not None
    samples, _ = soundfile.read(folder / "audio/train/train-0.flac", dtype="float32")
    torch.testing.assert_close(batch.features_BTF[0], fbank(room(torch.from_numpy(samples))))


def test_evaluation_uses_no_room(tmp_path: Path, sounds: Path) -> None:
    folder = write_folder(tmp_path / "tones", train=1)
    noisy, clean = task(folder, sounds, 1.0), prepared(folder)
    (ours,), (theirs,) = (t.eval_batches("test", t.tokens()) for t in (noisy, clean))
    assert torch.equal(ours.features_BTF, theirs.features_BTF)


def test_a_test_condition_does_not_depend_on_how_batches_are_divided(tmp_path: Path, sounds: Path) -> None:
    folder = write_folder(tmp_path / "tones", train=1, test=9)
    noisy = prepared(folder, eval_noise={"folder": sounds / "noise", "snr": [3, 9]})
    whole = {id: row for batch in noisy.eval_batches("test", noisy.tokens()) for id, row in _rows(batch)}
    halves = [noisy.eval_batches("test", noisy.tokens(), rank=rank, num_ranks=2) for rank in range(2)]
    found = [pair for half in halves for batch in half for pair in _rows(batch)]
    assert sorted(id for id, _ in found) == sorted(whole)
    assert all(torch.equal(row, whole[id]) for id, row in found)
    clean = prepared(folder)
    (theirs,) = clean.eval_batches("test", clean.tokens())
    assert all(not torch.equal(row, whole[id]) for id, row in _rows(theirs)), "evaluation must have noise"
    (ours,), (theirs,) = batches(noisy, 1), batches(clean, 1)
    assert torch.equal(ours.features_BTF, theirs.features_BTF), "training must have none"


def _rows(batch: Batch) -> list[tuple[str, Tensor]]:
    lengths = zip(batch.ids, batch.features_BTF, batch.num_frames, strict=True)
    return [(id, features[:length]) for id, features, length in lengths]


def test_rooms_of_probability_zero_change_nothing(tmp_path: Path, sounds: Path) -> None:
    folder = write_folder(tmp_path / "tones", train=10)
    ours = batches(task(folder, sounds, 0.0), 6)
    theirs = batches(prepared(folder, batch_seconds=4.0), 6)
    for a, b in zip(ours, theirs, strict=True):
        assert a.ids == b.ids
        assert torch.equal(a.features_BTF, b.features_BTF)


def test_a_resumed_reader_equals_one_never_stopped(tmp_path: Path, sounds: Path) -> None:
    noisy = task(write_folder(tmp_path / "tones", train=8), sounds, 0.6, speed_perturb=(0.9, 1.0, 1.1))
    straight = noisy.train_reader(noisy.tokens(), seed=0, rank=0, num_ranks=1)
    list(itertools.islice(straight, 3))
    state = straight.state_dict()
    for ours, theirs in zip(batches(noisy, 4, state), straight, strict=False):
        assert ours.ids == theirs.ids
        assert torch.equal(ours.features_BTF, theirs.features_BTF)


@pytest.mark.parametrize("option", ["noise", "reverb", "eval_noise", "eval_reverb"])
def test_unusable_folders_are_errors(option: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones", train=1, valid=1, test=1)
    bad = tmp_path / "bad"
    with pytest.raises(
        TaskError, match=rf"`task.{option}.folder` must be a folder, but there is no such folder: '.*bad'"
    ):
        prepared(folder, **{option: {"folder": bad}})
    bad.mkdir()
    (bad / "notes.txt").write_text("no audio")
    with pytest.raises(TaskError, match=rf"`task.{option}.folder` must hold recordings, but '.*' has none"):
        prepared(folder, **{option: {"folder": bad}})
    write_wav(bad / "good.wav", tone(0.1))
    (bad / "worse.wav").write_bytes(b"RIFF")
    with pytest.raises(TaskError, match=r"but 1 of 2 in '.*' are not: .*worse\.wav\. Remove them"):
        prepared(folder, **{option: {"folder": bad}})


def test_a_recording_that_turns_out_broken_is_an_error(tmp_path: Path) -> None:
    nan = tmp_path / "nan.wav"
    soundfile.write(nan, np.full(20_000, np.nan), 16_000, subtype="FLOAT")
    with pytest.raises(TaskError, match=r"nan\.wav' must hold finite samples"):
        segment(nan, 1000, 0.0)
    nan.write_bytes(b"")
    with pytest.raises(TaskError, match=r"nan\.wav' must be readable audio"):
        segment(nan, 1000, 0.0)


@pytest.mark.parametrize("rate", [16_001, 44_101, 191_999])
def test_noise_may_have_any_sampling_rate_and_any_name(rate: int, tmp_path: Path) -> None:
    """Including names that are not UTF-8."""
    write_wav(tmp_path / "a.wav", tone(3.0, 440, rate), rate)
    (tmp_path / "a.wav").rename(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    (file,) = find_audio(tmp_path, "noise")
    found = segment(file, 16_000, 0.5)
    assert len(found) == 16_000
    assert int(torch.fft.rfft(found).abs().argmax()) == pytest.approx(440, abs=1)


@pytest.mark.parametrize("wrong", [{"snr": (9, 3)}, {"probability": 1.5}, {"loudness": 1}])
def test_invalid_options_are_rejected(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Noise.model_validate({"folder": "x", **wrong})
