"""Long recordings are split at pauses: no speech is lost, and no chunk is longer than allowed."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from supernet import cut, transcribe
from supernet.audio.lengths import Lengths
from supernet.recognition.decoding import GREEDY
from supernet.recognition.pauses import chunks_at_pauses
from supernet.recognition.pipeline import Recognized, Transcriber
from supernet.recognition.transcript import Transcript
from supernet.runs import model_file
from supernet.runs.run import Run, RunError
from tests.supernet import tones
from tests.supernet.tones import SAMPLES_PER_FRAME

TYPICAL, LONGEST, OVERLAP = 40, 75, 25
"""In stream frames of 40 ms: 1.6, 3 and 1 s."""


def speech(seconds: float, seed: int, level: float = 0.3) -> Tensor:
    """Noise of a constant level."""
    return level * torch.randn(round(16_000 * seconds), generator=torch.Generator().manual_seed(seed))


lengths = st.lists(st.tuples(st.floats(0.1, 5), st.floats(0, 4)), min_size=1, max_size=7)


@given(lengths, st.integers(800, 200_000), st.sampled_from([0.0, 1e-4, 3e-3]))
def test_chunks_cover_all_speech_and_are_not_too_long(
    plan: list[tuple[float, float]], block: int, noise: float
) -> None:
    parts = [torch.cat([speech(a, i), noise * speech(b, i, 1.0)]) for i, (a, b) in enumerate(plan)]
    samples = torch.cat(parts)
    found = list(chunks_at_pauses(torch.split(samples, block), TYPICAL, LONGEST, OVERLAP, SAMPLES_PER_FRAME))
    heard = torch.zeros(len(samples), dtype=torch.bool)
    for chunk in found:
        start = chunk.start * SAMPLES_PER_FRAME
        assert 0 < len(chunk.samples) <= LONGEST * SAMPLES_PER_FRAME
        assert torch.equal(chunk.samples, samples[start : start + len(chunk.samples)])
        heard[start : start + len(chunk.samples)] = True
    position = 0
    for (seconds, _), part in zip(plan, parts, strict=True):
        assert heard[position : position + round(seconds * 16_000)].all()
        position += len(part)
    starts = [chunk.start for chunk in found]
    assert starts == sorted(set(starts))
    assert [chunk.is_last for chunk in found] == [False] * (len(found) - 1) + [True]
    assert found[-1].length == len(samples)


@given(st.integers(0, LONGEST * SAMPLES_PER_FRAME), st.integers(1, 30_000))
def test_a_short_recording_is_not_split(length: int, block: int) -> None:
    samples = speech(length / 16_000, 1)
    samples[length // 3 : length // 2] = 0
    blocks = torch.split(samples, block)
    (chunk,) = chunks_at_pauses(blocks, TYPICAL, LONGEST, OVERLAP, SAMPLES_PER_FRAME)
    assert torch.equal(chunk.samples, samples)
    assert (chunk.start, chunk.is_last, chunk.length) == (0, True, length)


def test_recordings_are_split_in_pauses_of_which_little_is_kept() -> None:
    """Of four sounds, the middle two are so close that they are kept together."""
    spoken = [(0.0, 2.0), (3.0, 1.0), (4.1, 1.0), (10.0, 2.5)]
    samples = 3e-4 * speech(14.0, 9, 1.0)
    for i, (start, seconds) in enumerate(spoken):
        samples[round(start * 16_000) :][: round(seconds * 16_000)] += speech(seconds, i)
    found = list(chunks_at_pauses([samples], 60, LONGEST, OVERLAP, SAMPLES_PER_FRAME))
    spans = [(c.start * 0.04, c.start * 0.04 + len(c.samples) / 16_000) for c in found]
    expected = [(0.0, 2.15), (2.85, 5.25), (9.85, 12.65)]
    assert np.abs(np.array(spans) - expected).max() <= 0.06


def test_memory_does_not_grow_with_the_recording() -> None:
    blocks = (torch.cat([speech(2.0, i), torch.zeros(8000)]) for i in range(200))
    found = 0
    for chunk in chunks_at_pauses(blocks, TYPICAL, LONGEST, OVERLAP, SAMPLES_PER_FRAME):
        assert chunk.samples.untyped_storage().nbytes() <= 4 * LONGEST * SAMPLES_PER_FRAME
        found += 1
    assert found == 200


def wrong_on_long_recordings(parts: Sequence[Tensor]) -> list[Recognized]:
    """A detector that outputs nonsense for recordings longer than those that it was trained on."""
    found = [tones.detect(x) for x in parts]
    nonsense = torch.nn.functional.one_hot(torch.tensor(2), len(tones.TOKENS)).mul(0.9).add(0.02).log()
    for x, log_probs_SV in zip(parts, found, strict=True):
        if len(x) > LONGEST * SAMPLES_PER_FRAME:
            log_probs_SV[:] = nonsense
    return [Recognized(log_probs_SV) for log_probs_SV in found]


@pytest.mark.parametrize("pause", [0.5, 1.0, 7.0])
def test_joined_utterances_are_recognized_like_separate_ones(pause: float) -> None:
    rng = random.Random(3)
    said = [tones.sentence(rng, 2) for _ in range(30)]
    spoken = [
        torch.cat([tones.speak(text, i), torch.zeros(round(pause * 16_000))]) for i, text in enumerate(said)
    ]
    recording = torch.cat(spoken)
    known = Lengths(1.6, LONGEST * 0.04)
    for longest, is_right in ((known, True), (None, False)):
        run = Transcriber(wrong_on_long_recordings, GREEDY, tones.TOKENS, 3000, lengths=longest)
        (result,) = run.run([torch.split(recording, 160_000)], batch=4)
        assert isinstance(result, Transcript)
        assert (result.text == " ".join(said)) == is_right
        assert result.seconds == pytest.approx(len(recording) / 16_000)
        if is_right:
            starts = np.cumsum([0, *(len(x) for x in spoken[:-1])]) / 16_000
            firsts = np.cumsum([0, *(len(text.split()) for text in said[:-1])])
            assert np.abs([result.words[i].start for i in firsts] - starts - 0.08).max() < 0.05


def test_lengths_ignore_outliers() -> None:
    found = Lengths.of(np.array([*np.linspace(1, 3, 999), 60.0]))
    assert found.typical == pytest.approx(2.0, abs=0.01)
    assert 2.9 < found.longest < 3.1
    assert Lengths(**found.as_json()) == found


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        "long",
        {"typical": 1},
        {"typical": 2, "longest": 1},
        {"typical": "1", "longest": 2},
        {"typical": -1, "longest": 1},
        {"typical": 1, "longest": float("inf")},
        {"typical": float("nan"), "longest": 1},
    ],
)
def test_invalid_lengths_are_errors(finished: tuple[Run, str], tmp_path: Path, wrong: object) -> None:
    for name in ("model.json", "model.safetensors", "tokens.txt"):
        shutil.copy(finished[0].folder / name, tmp_path)
    data = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**data, "lengths": wrong}))
    with pytest.raises(RunError, match="lengths"):
        model_file.load(tmp_path / "model")
    (tmp_path / "model.json").write_text(json.dumps({k: v for k, v in data.items() if k != "lengths"}))
    assert model_file.load(tmp_path / "model").lengths is None, "older models have no lengths"


def test_a_run_and_models_cut_from_it_record_the_lengths_of_utterances(
    finished: tuple[Run, str], tmp_path: Path
) -> None:
    known = model_file.load(finished[0].model_stem).lengths
    assert known is not None
    assert 0.5 <= known.typical <= known.longest <= 1.31
    cut.main([str(finished[0].folder), "--size", "2", "--out", str(tmp_path / "small")])
    assert model_file.load(tmp_path / "small" / "model").lengths == known


def test_long_recordings_give_a_note_if_a_run_does_not_record_lengths(
    finished: tuple[Run, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished[0].folder, tmp_path / "old")
    data = json.loads((tmp_path / "old" / "model.json").read_text())
    assert data.pop("lengths")
    (tmp_path / "old" / "model.json").write_text(json.dumps(data))
    soundfile.write(tmp_path / "long.wav", speech(21.0, 1, 0.1).numpy(), 16_000)
    for run, is_said in ((tmp_path / "old", True), (finished[0].folder, False)):
        transcribe.main([str(run), str(tmp_path / "long.wav")])
        assert ("does not record how long its training utterances were" in capsys.readouterr().err) == is_said
