"""Transcribe files, pipes and standard input with a finished run."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from supernet import Recognizer, transcribe
from supernet.runs.run import Run
from tests.supernet.imports import LISTED, imported
from tests.supernet.processes import environment, run
from tests.supernet.talkative import make_run, recordings
from tests.tasks.folders import tone


def audio_files(folder: Path) -> list[Path]:
    """The same tone at different rates, in different formats, with one or two channels."""
    files = []
    for name, rate, channels in (("a.wav", 16_000, 1), ("b.wav", 8_000, 2), ("c.flac", 44_100, 1)):
        samples = np.stack([tone(1.0, rate=rate)] * channels, axis=1)
        soundfile.write(folder / name, samples, rate)
        files.append(folder / name)
    return files


def test_audio_files_of_any_kind_are_transcribed_and_broken_ones_reported(
    finished: tuple[Run, str], place: Path, tmp_path: Path
) -> None:
    files, broken = audio_files(tmp_path), tmp_path / "broken.wav"
    broken.write_bytes(files[0].read_bytes()[:30])
    out, err = run("supernet.transcribe", "runs/finished", "--size", "4", broken, *files, cwd=place, status=1)
    lines = [line.split("\t") for line in out.splitlines()]
    assert [name for name, _ in lines] == [str(file) for file in files]
    assert len({text for _, text in lines}) == 1
    complaints = [line for line in err.splitlines() if line.startswith("error:")]
    assert complaints[0].startswith(f"error: '{broken}' must be readable audio, but is not: ")
    assert complaints[1:] == ["error: 1 of 4 recordings could not be read."]
    assert "Traceback" not in err


def test_recognition_imports_no_unneeded_packages(
    finished: tuple[Run, str], place: Path, tmp_path: Path
) -> None:
    """The training engine, PyTorch's compiler, corpora and plots would take several seconds."""
    soundfile.write(tmp_path / "a.wav", tone(1.0), 16_000)
    out, err = run(
        "supernet.transcribe", "runs/finished", tmp_path / "a.wav", cwd=place, extra=LISTED, fresh=True
    )
    assert out.startswith(f"{tmp_path}/a.wav\t")
    assert "torch" in imported(err)
    unneeded = "fairseq2.composition fairseq2.recipe jinja2 lhotse matplotlib optuna pandas s3fs sympy"
    assert (
        imported(err) & {*unneeded.split(), "tensorboard", "torch._dynamo", "transformers", "wandb"} == set()
    )


def test_pipes_are_transcribed_like_files(finished: tuple[Run, str], place: Path, tmp_path: Path) -> None:
    """Standard input, a named pipe and a process substitution, in one command."""
    audio, transcribe = audio_files(tmp_path)[2], f"{sys.executable} -m supernet.transcribe"
    os.mkfifo(tmp_path / "pipe")
    command = (
        f"cat {audio} > {tmp_path}/pipe & "
        f"cat {audio} | {transcribe} runs/finished --size 4 - {tmp_path}/pipe <(cat {audio}) {audio}"
    )
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=place,
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    names, texts = zip(*(line.split("\t") for line in done.stdout.splitlines()), strict=True)
    assert (names[0], names[1], names[3]) == ("-", f"{tmp_path}/pipe", str(audio))
    assert len(set(texts)) == 1


def test_empty_standard_input_is_an_error(
    finished: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        with pytest.raises(SystemExit) as end:
            transcribe.main(["runs/finished", "-"])
    assert end.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: 'standard input' must be readable audio, but is not: it is empty."


@pytest.mark.parametrize("position", [5000, 330_000])
def test_samples_too_large_for_features_are_an_error(
    finished: tuple[Run, str], here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], position: int
) -> None:
    """Also in a later chunk of the recording; other recordings are transcribed as usual."""
    samples = tone(25.0)
    samples[position] = 1e25
    soundfile.write(tmp_path / "loud.wav", samples, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "good.wav", tone(1.0), 16_000)
    files = [str(tmp_path / name) for name in ("good.wav", "loud.wav", "good.wav")]
    with pytest.raises(SystemExit) as end:
        transcribe.main(["runs/finished", *files])
    assert end.value.code == 1
    captured = capsys.readouterr()
    assert (
        "loud.wav' must be readable audio, but is not: the output for samples of up to 1e+25 is"
        in captured.err
    )
    first, second = captured.out.splitlines()
    assert first == second


def test_names_that_are_not_utf8_are_transcribed(
    finished: tuple[Run, str], here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio_files(tmp_path)
    (tmp_path / "b.wav").rename(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    (tmp_path / "empty.wav").touch()
    for form in ("text", "jsonl"):
        with pytest.raises(SystemExit) as end:
            transcribe.main(["runs/finished", str(tmp_path), "--size", "4", "--format", form])
        assert end.value.code == 1
        captured = capsys.readouterr()
        lines = captured.out.splitlines()
        texts = [line.split("\t")[1] if form == "text" else json.loads(line)["text"] for line in lines]
        assert len(texts) == 3
        assert len(set(texts)) == 1
        assert "caf" in captured.out
        assert "empty.wav' must be readable audio, but is not" in captured.err
    with pytest.raises(SystemExit):
        transcribe.main(["runs/finished", str(tmp_path), "--size", "4", "--out", str(tmp_path / "out")])
    assert len(list((tmp_path / "out").iterdir())) == 3


@pytest.fixture(scope="module")
def random_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with random weights, which recognizes something different in each recording."""
    return make_run(tmp_path_factory.mktemp("runs") / "random").folder


@pytest.fixture
def speech(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to a folder with recordings in ``speech/``, in which there is also another file."""
    (tmp_path / "speech" / "deep").mkdir(parents=True)
    for name, samples in zip(("a.wav", "deep/b.flac"), recordings(), strict=False):
        soundfile.write(tmp_path / "speech" / name, samples, 16_000)
    (tmp_path / "speech" / "notes.txt").write_text("no audio")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("speech")
def test_the_recordings_of_a_folder_are_transcribed(
    random_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transcribe.main([str(random_run), "speech", "--size", "3", "--batch", "2"])
    names = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["speech/a.wav", "speech/deep/b.flac"]


@pytest.mark.usefixtures("speech")
def test_a_file_can_be_written_for_each_recording(
    random_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transcribe.main([str(random_run), "speech", "--format", "vtt", "--out", "out/new"])
    assert sorted(file.name for file in Path("out/new").iterdir()) == ["a.vtt", "b.vtt"]
    assert Path("out/new/a.vtt").read_text().startswith("WEBVTT\n")
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("speech")
def test_json_lines_equal_the_transcripts_of_the_api(
    random_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transcribe.main([str(random_run), "speech/a.wav", "--format", "jsonl"])
    data = json.loads(capsys.readouterr().out)
    expected = Recognizer.load(random_run).transcribe("speech/a.wav")
    assert data["text"] == expected.text
    assert [word["start"] for word in data["words"]] == [word.start for word in expected.words]


@pytest.mark.usefixtures("speech")
def test_standard_input_is_transcribed_like_a_file(
    random_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    transcribe.main([str(random_run), "speech/a.wav"])
    from_file = capsys.readouterr().out
    data = io.TextIOWrapper(io.BytesIO(Path("speech/a.wav").read_bytes()))
    monkeypatch.setattr("sys.stdin", data)
    transcribe.main([str(random_run), "-"])
    assert capsys.readouterr().out == from_file.replace("speech/a.wav", "-")


def test_a_missing_file_is_an_error(random_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        transcribe.main([str(random_run), "gone.wav"])
    assert end.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: 'gone.wav' must be an audio file, but there is no such file."


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
def test_errors_name_options(
    random_run: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        transcribe.main([str(random_run), "a.wav", *options])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
