"""Cascades on the command line: fitted on the validation split, scored, used, and refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import soundfile

from supernet import Recognizer, evaluate, transcribe
from supernet.runs.run import Run
from tests.supernet.complaining import one_error
from tests.tasks.folders import tone


@pytest.fixture
def copied(finished: tuple[Run, str], here: Path, tmp_path: Path) -> Run:
    """A copy of the finished run, whose corpus is in the current folder."""
    shutil.copytree(finished[0].folder, tmp_path / "run")
    return Run(tmp_path / "run")


def texts(run: Run, name: str) -> list[str]:
    return [hypothesis for _, _, hypothesis in run.transcripts(name)]


def test_a_threshold_is_fitted_on_validation_and_used_from_then_on(
    copied: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(copied.folder)
    evaluate.main([folder])
    evaluate.main([folder, "--cascade", "2,4", "--threshold", "macs=100%", "--split", "valid,test"])
    printed = capsys.readouterr().out
    assert "run, cascade 2,4, valid" in printed
    assert (copied.pictures / "test-cascade-2,4.png").read_bytes().startswith(b"\x89PNG")
    stored = json.loads(copied.confidence_file("run").read_text())
    assert stored["cascades"]["2,4"]["target"] == "macs=100%"
    assert set(stored["sizes"]) == {"2", "4"}
    threshold = stored["cascades"]["2,4"]["threshold"]
    mixed = zip(*(texts(copied, f"test-{name}") for name in ("2", "4", "cascade-2,4")), strict=True)
    assert all(c in (a, b) for a, b, c in mixed)
    # The next commands read it.
    evaluate.main([folder, "--cascade", "2,4"])
    assert f"{threshold:.6g} (used)" in capsys.readouterr().out
    soundfile.write(tmp_path / "a.wav", tone(1.0), 16_000)
    transcribe.main([folder, "--cascade", "2,4", "--format", "jsonl", str(tmp_path / "a.wav")])
    line = json.loads(capsys.readouterr().out)
    result = Recognizer.load(folder).cascade(2, 4).transcribe(tmp_path / "a.wav")
    assert result.confidence is not None
    assert (line["text"], line["size"]) == (result.text, result.size)
    assert line["confidence"] == pytest.approx(result.confidence, abs=1e-4)


@pytest.mark.parametrize(("threshold", "size"), [("0", "2"), ("2", "4")])
def test_given_thresholds_at_the_ends_are_the_sizes(copied: Run, threshold: str, size: str) -> None:
    evaluate.main([str(copied.folder), "--cascade", "2,4", "--threshold", threshold])
    evaluate.main([str(copied.folder), "--sizes", size])
    assert copied.transcripts("test-cascade-2,4") == copied.transcripts(f"test-{size}")


def test_cascades_of_a_selection_have_a_file_of_their_own(
    copied: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choices = [
        {"granularity": "layer", "budget": str(size), "kept": [f"layers.{i}" for i in range(size)]}
        for size in (1, 2, 3)
    ]
    selection = tmp_path / "mine.json"
    selection.write_text(json.dumps({"strategy": "mine", "choices": choices}))
    given = [str(copied.folder), "--selection", str(selection), "--cascade", "1,2,3"]
    evaluate.main([*given, "--threshold", "0.25"])
    assert "--selection" in capsys.readouterr().out.splitlines()[-1]
    assert not copied.confidence_file("run").exists()
    assert json.loads(copied.confidence_file("mine").read_text())["cascades"]["1,2,3"]["threshold"] == 0.25
    assert len(copied.transcripts("test-mine-cascade-1,2,3")) == 8
    soundfile.write(tmp_path / "a.wav", tone(1.0), 16_000)
    transcribe.main([*given, str(tmp_path / "a.wav")])
    found = (
        Recognizer.load(copied.folder, selection=selection).cascade(1, 2, 3).transcribe(tmp_path / "a.wav")
    )
    assert capsys.readouterr().out == f"{tmp_path}/a.wav\t{found.text}\n"


WRONG = [
    (
        ["--cascade", "4,2"],
        "`--cascade` must be two or more sizes, the smallest first, such as 6,12, but is 4,2",
    ),
    (["--cascade", "2"], "`--cascade` must be two or more sizes"),
    (["--cascade", "2,7"], "`--cascade` must be one of 2, 4, the budgets there are, but is 7"),
    (
        ["--cascade", "2,4"],
        "`--threshold` must be given for the cascade 2,4, as none was fitted on the validation split. To ",
    ),
    (["--threshold", "auto"], "`--threshold` must come with --cascade, but there is none."),
]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *WRONG,
        (
            ["--cascade", "2,4", "--threshold", "low"],
            "`--threshold` must be auto, macs=60%, errors=2% or a number",
        ),
        (
            ["--cascade", "2,4", "--sizes", "2"],
            "`--cascade` must be given without `--sizes`, but is given with it",
        ),
        (
            [
                "--cascade",
                "2,4",
                "--threshold",
                "0.5",
                "--name",
                "noisy",
                "--set",
                "task.eval_noise.folder=x",
            ],
            "without `--name`",
        ),
        (["--cascade", "2,4", "--threshold", "macs=1%"], "`--threshold` must be at least macs="),
    ],
)
def test_wrong_cascades_to_evaluate_are_one_line(
    finished: tuple[Run, str],
    here: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    assert words in one_error(evaluate.main, ["runs/finished", *arguments], capsys)
    assert not finished[0].confidence_file("run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *WRONG,
        (
            ["--cascade", "2,4", "--threshold", "macs=60%"],
            "`--threshold` must be auto or a number of at least 0",
        ),
        (
            ["--cascade", "2,4", "--size", "2"],
            "`--cascade` must be given without `--size`, but is given with it",
        ),
    ],
)
def test_wrong_cascades_to_transcribe_are_one_line(
    finished: tuple[Run, str],
    here: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    assert words in one_error(transcribe.main, ["runs/finished", *arguments, "a.wav"], capsys)


def test_the_suggested_command_fits_the_missing_threshold(
    copied: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        transcribe.main([str(copied.folder), "--cascade", "2,4", "a.wav"])
    found = re.search(r"To fit one: python -m supernet.evaluate (.*)$", capsys.readouterr().err.strip())
    assert found is not None
    evaluate.main(found[1].split())
    assert Recognizer.load(copied.folder)._confidences.thresholds.keys() == {"2,4"}
