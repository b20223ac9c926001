"""The Python API: sizes that share weights, threads, deadlines, and recordings of every kind."""

from __future__ import annotations

import gc
import io
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
from supernet import Recognizer, cut, transcribe
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


def test_sizes_and_their_handles(loaded: Recognizer) -> None:
    assert loaded.sizes == (2, 3, 4)
    assert loaded.size == 2
    assert loaded.use(4).size == loaded.use("4").size == 4
    assert loaded.size == 2
    with pytest.raises(ArgumentError, match="`size` must be one of 2, 3, 4, the budgets there are, but is 5"):
        loaded.use(5)


def test_a_handle_shows_itself_in_one_line(loaded: Recognizer, folder: Path) -> None:
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
def test_errors_speak_of_arguments(folder: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as found:
        Recognizer.load(folder, **arguments)
    assert str(found.value).startswith(message)
    assert "--" not in str(found.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "cuda:99"], "`--device` must be a GPU of this machine, which has "),
        (["--size", "5"], "`--size` must be one of 2, 3, 4, "),
        (
            ["--selection", "gone"],
            "`--selection` must be a subnet or a selection, but there is no such file: 'gone'",
        ),
        (["--lm", "gone"], "`--lm` must be a readable file, but there is no such file: 'gone'"),
    ],
)
def test_a_command_speaks_of_its_options(
    folder: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        transcribe.main([str(folder), "a.wav", *options])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")


def test_a_handle_is_the_cut_model(loaded: Recognizer, folder: Path, tmp_path: Path) -> None:
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
    assert len(written) > 6, "sizes must differ for this to mean something"


def test_switching_copies_nothing(loaded: Recognizer) -> None:
    gc.collect()
    before = {id(x) for x in gc.get_objects() if isinstance(x, torch.Tensor)}
    handles = [loaded.use(random.choice(loaded.sizes)) for _ in range(200)]
    after = {id(x) for x in gc.get_objects() if isinstance(x, torch.Tensor)}
    assert after <= before
    assert len({id(handle._model) for handle in handles}) == 1


def test_threads_each_with_its_size_write_what_one_thread_writes(loaded: Recognizer) -> None:
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


def test_a_padded_batch_writes_the_same(loaded: Recognizer) -> None:
    large = loaded.use(4)
    alone = [large.transcribe(samples, 16_000) for samples in recordings()]
    for batch in (1, 3, 8):
        assert large.transcribe(recordings(), 16_000, batch=batch) == alone
    assert len({result.text for result in alone}) > 1


def test_a_long_recording_is_written_alike_in_batches_of_any_size(loaded: Recognizer) -> None:
    """Chunks of many lengths, sorted and padded, write what each writes alone."""
    model = replace(loaded._model, lengths=Lengths(typical=1.0, longest=3.0))
    recognizer = replace(loaded, _model=model).use(4)
    pause = torch.zeros(8_000)
    long = torch.cat([part for samples in 6 * recordings() for part in (samples, pause)])
    alone = recognizer.transcribe(long, 16_000, batch=1)
    assert len(alone.words) > 20
    for batch in (2, 3, 8, 100):
        assert recognizer.transcribe(long, 16_000, batch=batch) == alone


def test_files_and_samples_say_the_same(loaded: Recognizer, tmp_path: Path) -> None:
    samples = (recordings()[2].clamp(-1, 1) * 32767).round().to(torch.int16).numpy()
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    expected = loaded.transcribe(samples, 16_000)
    assert loaded.transcribe(tmp_path / "a.wav") == expected
    assert loaded.transcribe(str(tmp_path / "a.wav")) == expected
    assert loaded.transcribe(np.stack([samples, samples], axis=1), 16_000) == expected
    assert loaded.transcribe([]) == []


@pytest.mark.parametrize("samples", [torch.zeros(0), torch.zeros(16_000), torch.zeros(700_000)])
def test_silence_says_nothing(loaded: Recognizer, samples: torch.Tensor) -> None:
    result = loaded.transcribe(samples, 16_000)
    assert result == Transcript("", (), (), len(samples) / 16_000)


@pytest.mark.parametrize("num_samples", [1, 79, 80, 399, 500, 641])
def test_clicks_are_transcribed(loaded: Recognizer, num_samples: int) -> None:
    assert isinstance(loaded.transcribe(torch.full((num_samples,), 0.1), 16_000).text, str)


def test_a_recording_longer_than_the_network_takes_is_chunked(loaded: Recognizer) -> None:
    result = loaded.use(4).transcribe(torch.cat(recordings() * 5), 16_000)  # 256 frames are 10 s
    assert result.seconds > 30
    assert result.words[-1].end > 20
    assert all(a.start <= b.start for a, b in zip(result.words, result.words[1:], strict=False))


def test_the_largest_size_that_meets_a_deadline(loaded: Recognizer) -> None:
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


def test_what_cannot_be_used_is_named(loaded: Recognizer, folder: Path, tmp_path: Path) -> None:
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


def test_beam_search_through_the_api(loaded: Recognizer, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("flashlight.lib.text.decoder.kenlm", reason="beam search needs the extra 'lm'")
    assert Recognizer.load(folder, beam=BeamConfig(1)).transcribe(recordings(), 16_000) == loaded.transcribe(
        recordings(), 16_000
    )
    (tmp_path / "words.txt").write_text("ab\nc\n")
    found = Recognizer.load(folder, beam=BeamConfig(lexicon=tmp_path / "words.txt")).transcribe(
        recordings(), 16_000
    )
    assert {word.text for result in found for word in result.words} <= {"ab", "c"}


class TestCommand:
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "speech" / "deep").mkdir(parents=True)
        for name, samples in zip(("a.wav", "deep/b.flac"), recordings(), strict=False):
            soundfile.write(tmp_path / "speech" / name, samples, 16_000)
        (tmp_path / "speech" / "notes.txt").write_text("no audio")
        monkeypatch.chdir(tmp_path)

    def test_a_folder(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        transcribe.main([str(folder), "speech", "--size", "3", "--batch", "2"])
        names = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
        assert names == ["speech/a.wav", "speech/deep/b.flac"]

    def test_files_for_each(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        transcribe.main([str(folder), "speech", "--format", "vtt", "--out", "out/new"])
        assert sorted(file.name for file in Path("out/new").iterdir()) == ["a.vtt", "b.vtt"]
        assert Path("out/new/a.vtt").read_text().startswith("WEBVTT\n")
        assert capsys.readouterr().out == ""

    def test_lines_of_json(
        self, folder: Path, loaded: Recognizer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        transcribe.main([str(folder), "speech/a.wav", "--format", "jsonl"])
        data = json.loads(capsys.readouterr().out)
        expected = loaded.transcribe("speech/a.wav")
        assert data["text"] == expected.text
        assert [word["start"] for word in data["words"]] == [word.start for word in expected.words]

    def test_standard_input(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        transcribe.main([str(folder), "speech/a.wav"])
        from_file = capsys.readouterr().out
        data = io.TextIOWrapper(io.BytesIO(Path("speech/a.wav").read_bytes()))
        monkeypatch.setattr("sys.stdin", data)
        transcribe.main([str(folder), "-"])
        assert capsys.readouterr().out == from_file.replace("speech/a.wav", "-")

    def test_one_unreadable_file(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as end:
            transcribe.main([str(folder), "gone.wav"])
        assert end.value.code == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line == "error: 'gone.wav' must be an audio file, but there is no such file."
