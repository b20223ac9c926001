"""The Python API: sizes that share weights, threads, deadlines, and recordings of every kind."""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import supernet
from supernet import Recognizer, cut
from supernet.audio.features import LOG_MEL, fbank
from supernet.audio.lengths import Lengths
from supernet.errors import ArgumentError, AudioError
from supernet.recognition.beam import BeamConfig
from supernet.recognition.decoding import greedy
from supernet.recognition.transcript import Transcript
from supernet.runs import model_file
from supernet.runs.run import RunError
from tests.supernet.talkative import TEXTS, make_run, recordings
from tests.supernet.tones import TOKENS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "random").folder


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Recognizer:
    return Recognizer.load(folder)


def test_importing_the_package_imports_no_torch() -> None:
    program = "import supernet, sys; assert 'torch' not in sys.modules; supernet.Recognizer"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert not hasattr(supernet, "SupernetCTC")


def test_each_size_has_a_handle(loaded: Recognizer) -> None:
    assert loaded.sizes == (2, 3, 4)
    assert loaded.size == 2
    assert loaded.use(4).size == loaded.use("4").size == 4
    assert loaded.size == 2
    with pytest.raises(ArgumentError, match="`size` must be one of 2, 3, 4, the budgets there are, but is 5"):
        loaded.use(5)


def test_a_handle_is_represented_in_one_line(loaded: Recognizer, folder: Path) -> None:
    shown = f"Recognizer({str(folder)!r}, size=2, sizes=(2, 3, 4), tokens=6, device='cpu')"
    assert repr(loaded) == shown
    assert repr(loaded.use(3)) == shown.replace("size=2", "size=3")


def test_the_version_is_the_installed_one() -> None:
    assert supernet.__version__ == metadata.version("supernet-asr")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "cuda:99"}, "`device` must be a GPU of this machine, which has "),
        ({"device": "gpu"}, "`device` must be cpu, cuda or cuda:N, but is 'gpu'"),
        ({"beam": BeamConfig(0)}, "`beam` must be at least 1, but is 0"),
        (
            {"beam": BeamConfig(lm=Path("gone"))},
            "`lm` must be a readable file, but there is no such file: 'gone'",
        ),
        (
            {"selection": "gone"},
            "`selection` must be a subnet or a selection, but there is no such file: 'gone'",
        ),
    ],
)
def test_errors_name_arguments(folder: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as found:
        Recognizer.load(folder, **arguments)
    assert str(found.value).startswith(message)
    assert "--" not in str(found.value)


def test_a_handle_equals_the_cut_model(loaded: Recognizer, folder: Path, tmp_path: Path) -> None:
    whole = model_file.load(folder / "model")
    written = set()
    for size in loaded.sizes:
        cut.main([str(folder), "--size", str(size), "--out", str(tmp_path / str(size))])
        small = Recognizer.load(tmp_path / str(size))
        assert small.sizes == (size,)
        for samples in recordings():
            features = fbank(samples)
            kept = whole.recognizer.table.first(size)
            with torch.inference_mode():
                log_probs = whole.recognizer.log_probs(features[None], [len(features)], kept)
            expected = greedy(log_probs, [LOG_MEL.num_stream_frames(len(features))], TOKENS)[0].split()
            assert loaded.use(size).transcribe(samples, 16_000).text.split() == expected
            assert small.transcribe(samples, 16_000).text.split() == expected
            written.add((size, *expected))
    assert len(written) > 6, "sizes must differ, or this shows nothing"


def test_switching_sizes_copies_nothing(loaded: Recognizer) -> None:
    gc.collect()
    before = {id(x) for x in gc.get_objects() if isinstance(x, torch.Tensor)}
    handles = [loaded.use(random.choice(loaded.sizes)) for _ in range(200)]
    after = {id(x) for x in gc.get_objects() if isinstance(x, torch.Tensor)}
    assert after <= before
    assert len({id(handle._model) for handle in handles}) == 1


def test_threads_with_different_sizes_equal_a_single_thread(loaded: Recognizer) -> None:
    jobs = [(size, i) for size in loaded.sizes for i in range(len(TEXTS))] * 3
    random.Random(0).shuffle(jobs)
    samples = recordings()

    def log_probs(job: tuple[int, int]) -> torch.Tensor:
        handle = loaded.use(job[0])
        with torch.inference_mode():
            features = fbank(samples[job[1]])
            return handle._model.recognizer.log_probs(features[None], [len(features)], handle._kept)

    def write(job: tuple[int, int]) -> Transcript:
        return loaded.use(job[0]).transcribe(samples[job[1]], 16_000)

    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(log_probs, jobs))
        written = list(threads.map(write, jobs))
    assert all(torch.equal(a, log_probs(job)) for a, job in zip(together, jobs, strict=True))
    assert written == [write(job) for job in jobs]


def test_padding_does_not_change_transcripts(loaded: Recognizer) -> None:
    large = loaded.use(4)
    alone = [large.transcribe(samples, 16_000) for samples in recordings()]
    for batch in (1, 3, 8):
        assert large.transcribe(recordings(), 16_000, batch=batch) == alone
    assert len({result.text for result in alone}) > 1


def test_the_batch_size_does_not_change_transcripts_of_long_recordings(loaded: Recognizer) -> None:
    """Chunks of many lengths, sorted and padded, have the same transcripts as each one alone."""
    model = replace(loaded._model, lengths=Lengths(typical=1.0, longest=3.0))
    recognizer = replace(loaded, _model=model).use(4)
    pause = torch.zeros(8_000)
    long = torch.cat([part for samples in 6 * recordings() for part in (samples, pause)])
    alone = recognizer.transcribe(long, 16_000, batch=1)
    assert len(alone.words) > 20
    for batch in (2, 3, 8, 100):
        assert recognizer.transcribe(long, 16_000, batch=batch) == alone


def test_files_and_samples_have_the_same_transcripts(loaded: Recognizer, tmp_path: Path) -> None:
    samples = (recordings()[2].clamp(-1, 1) * 32767).round().to(torch.int16).numpy()
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    expected = loaded.transcribe(samples, 16_000)
    assert loaded.transcribe(tmp_path / "a.wav") == expected
    assert loaded.transcribe(str(tmp_path / "a.wav")) == expected
    assert loaded.transcribe(np.stack([samples, samples], axis=1), 16_000) == expected
    assert loaded.transcribe([]) == []


@pytest.mark.parametrize("samples", [torch.zeros(0), torch.zeros(16_000), torch.zeros(700_000)])
def test_silence_has_an_empty_transcript(loaded: Recognizer, samples: torch.Tensor) -> None:
    result = loaded.transcribe(samples, 16_000)
    assert result == Transcript("", (), (), len(samples) / 16_000)


@pytest.mark.parametrize("num_samples", [1, 79, 80, 399, 500, 641])
def test_very_short_recordings_can_be_transcribed(loaded: Recognizer, num_samples: int) -> None:
    assert isinstance(loaded.transcribe(torch.full((num_samples,), 0.1), 16_000).text, str)


def test_recordings_beyond_the_networks_maximum_are_split(loaded: Recognizer) -> None:
    result = loaded.use(4).transcribe(torch.cat(recordings() * 5), 16_000)  # 256 frames are 10 s
    assert result.seconds > 30
    assert result.words[-1].end > 20
    assert all(a.start <= b.start for a, b in zip(result.words, result.words[1:], strict=False))


def test_the_largest_size_within_a_latency_is_found(loaded: Recognizer) -> None:
    threads = torch.get_num_threads()
    assert loaded.fit(latency_ms=1e6, seconds=0.5, threads=2).size == 4
    assert torch.get_num_threads() == threads
    with pytest.raises(ValueError, match=r"`latency_ms` must be at least .*, but is 1e-06 instead"):
        loaded.fit(latency_ms=1e-6, seconds=0.5)


def test_a_selection_can_be_used(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    choices = [{"budget": "params=50%", "granularity": "layer", "kept": ["layers.1"]}]
    file.write_text(json.dumps({"strategy": "mine", "choices": choices}))
    mine = Recognizer.load(folder, selection=file)
    assert mine.sizes == (1,)
    assert mine.use("params=50%").use(1).size == 1
    with pytest.raises(ArgumentError, match="`selection` must be a subnet or a selection"):
        Recognizer.load(folder, selection=tmp_path / "gone.json")


def test_invalid_arguments_and_files_are_errors(loaded: Recognizer, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="`folder` must be a run folder"):
        Recognizer.load(tmp_path)
    with pytest.raises(ValueError, match="`rate` must be the samples' rate in Hz, but is None"):
        loaded.transcribe(torch.zeros(9))
    with pytest.raises(ValueError, match="`batch` must be at least 1, but is 0"):
        loaded.transcribe(torch.zeros(9), 16_000, batch=0)
    with pytest.raises(AudioError, match=r"'gone\.wav' must be an audio file, but there is no such file"):
        loaded.transcribe(["gone.wav"])
    data = json.loads((folder / "model.json").read_text())
    del data["tokens"]
    (tmp_path / "model.json").write_text(json.dumps(data))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(RunError, match="must be a model, but is not: `tokens` must be given"):
        Recognizer.load(tmp_path)


def test_beam_search_with_a_lexicon_writes_only_its_words(
    loaded: Recognizer, folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm", reason="beam search needs the extra 'lm'")
    assert Recognizer.load(folder, beam=BeamConfig(1)).transcribe(recordings(), 16_000) == loaded.transcribe(
        recordings(), 16_000
    )
    (tmp_path / "words.txt").write_text("ab\nc\n")
    found = Recognizer.load(folder, beam=BeamConfig(lexicon=tmp_path / "words.txt")).transcribe(
        recordings(), 16_000
    )
    assert {word.text for result in found for word in result.words} <= {"ab", "c"}
