"""Transcribe files, pipes and standard input with a finished run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from supernet import transcribe
from supernet.runs.run import Run
from tests.supernet.imports import LISTED, imported
from tests.supernet.processes import environment, run
from tests.tasks.folders import tone


def audio_files(folder: Path) -> list[Path]:
    """The same tone in every disguise."""
    files = []
    for name, rate, channels in (("a.wav", 16_000, 1), ("b.wav", 8_000, 2), ("c.flac", 44_100, 1)):
        samples = np.stack([tone(1.0, rate=rate)] * channels, axis=1)
        soundfile.write(folder / name, samples, rate)
        files.append(folder / name)
    return files


def test_any_audio_file_is_transcribed_and_a_broken_one_is_named(
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


def test_recognition_imports_nothing_that_it_does_not_need(
    finished: tuple[Run, str], place: Path, tmp_path: Path
) -> None:
    """Neither the engine of training, nor PyTorch's compiler, nor corpora, nor pictures: several seconds."""
    soundfile.write(tmp_path / "a.wav", tone(1.0), 16_000)
    out, err = run("supernet.transcribe", "runs/finished", tmp_path / "a.wav", cwd=place, extra=LISTED)
    assert out.startswith(f"{tmp_path}/a.wav\t")
    assert "torch" in imported(err)
    unneeded = "fairseq2.composition fairseq2.recipe jinja2 lhotse matplotlib optuna pandas s3fs sympy"
    assert (
        imported(err) & {*unneeded.split(), "tensorboard", "torch._dynamo", "transformers", "wandb"} == set()
    )


def test_what_comes_through_pipes_is_transcribed_like_a_file(
    finished: tuple[Run, str], place: Path, tmp_path: Path
) -> None:
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


def test_nothing_on_standard_input_is_said_to_be_nothing(
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
    """Also in a later chunk of the recording; the others are transcribed as without it."""
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


def test_a_name_that_is_no_utf8_leaves_the_others_alone(
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
