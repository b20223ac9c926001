"""Every command ends with suggestions of the next ones."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from selection.commands.worth import Alone, missing
from supernet import cut, evaluate
from supernet.commands.latency import suggestions
from supernet.console.front import command, say_next
from supernet.console.text import be_quiet
from supernet.runs.resolve import resolve_trained
from supernet.runs.run import Run
from supernet.train import main as train
from tasks.prepare import main as prepare
from tests.supernet.processes import environment, settings
from tests.tasks.folders import tone


def suggested(printed: str) -> list[list[str]]:
    """The words of the lines after ``next:``, as a shell would split them."""
    _, _, after = printed.rpartition("next:\n")
    lines = [shlex.split(line, comments=True) for line in after.splitlines() if line.startswith("  ")]
    return [words for words in lines if words]


def test_suggestions_are_quoted_for_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    say_next((command("select", "my run; rm -rf $HOME"), "units"), (command("latency", "x"), ""))
    assert suggested(capsys.readouterr().out) == [
        ["python", "-m", "selection", "my run; rm -rf $HOME"],
        ["python", "-m", "supernet.latency", "x"],
    ]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_explanations_do_not_make_lines_wider_than_the_screen(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    say_next((command("latency", "a" * 40), "its costs"), (command("select", "b"), "units " * 5))
    printed = capsys.readouterr().out
    longest = max(len(line) for line in (command("latency", "a" * 40), command("select", "b")))
    assert max(map(len, printed.splitlines())) <= max(columns, longest + 2)
    assert "its costs" in printed
    assert suggested(printed) == [
        ["python", "-m", "supernet.latency", "a" * 40],
        ["python", "-m", "selection", "b"],
    ]


def test_other_ranks_and_quiet_commands_suggest_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    be_quiet(True)
    say_next(("x", "y"))
    be_quiet(False)
    monkeypatch.setenv("RANK", "1")
    say_next(("x", "y"))
    assert capsys.readouterr().out == ""


def test_suggestions_after_training(finished: tuple[Run, str]) -> None:
    lines = suggested(finished[1])
    assert ["python", "-m", "supernet.evaluate", "runs/finished", "--by", "speaker,length"] in lines
    assert ["python", "-m", "supernet.transcribe", "runs/finished", "speech.wav"] in lines
    assert ["python", "-m", "selection", "runs/finished"] in lines


def test_suggested_commands_can_be_run(
    finished: tuple[Run, str],
    here: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (line,) = (words for words in suggested(finished[1]) if "supernet.evaluate" in words)
    evaluate.main(line[3:])
    assert ["python", "-m", "selection", "runs/finished"] in suggested(capsys.readouterr().out)
    cut.main(["runs/finished", "--size", "2", "--out", str(tmp_path / "small one")])
    lines = suggested(capsys.readouterr().out)
    assert ["python", "-m", "supernet.transcribe", str(tmp_path / "small one"), "speech.wav"] in lines
    assert ["python", "-m", "supernet.export", "runs/finished", "--size", "2"] in lines


def test_the_comparison_of_costs_suggests_missing_trainings(
    finished: tuple[Run, str],
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Run(Path("runs/finished"))
    worse = Alone("short", 4, 24, 96.0, 0.9, 0.2, (0.1, 0.3))
    found = list(missing(run, resolve_trained(run.config_data()), [worse]))
    assert [purpose for _, purpose in found] == ["size 2 alone", "size 4 alone"]
    words = shlex.split(found[1][0])
    assert words[words.index("--steps") + 1] == "48"
    train([*words[3:], "--dry-run"])  # the suggested command is valid
    assert "size 4" in capsys.readouterr().out


def test_the_suggested_program_reads_the_export(exported: tuple[Run, str], place: Path) -> None:
    pytest.importorskip("sherpa_onnx", reason="needs the export extra")
    soundfile.write(place / "speech.wav", tone(1.0), 16_000)
    (line,) = (words for words in suggested(exported[1]) if words[:2] == ["python", "-c"])
    subprocess.run([sys.executable, *line[1:]], cwd=place, env=environment(place), check=True)


def test_preparing_a_corpus_suggests_training_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for split in ("train", "valid", "test"):
        soundfile.write(tmp_path / f"{split}.wav", tone(1.0), 16_000)
        (tmp_path / f"{split}.csv").write_text(f"path,text\n{split}.wav,a b\n")
    prepare([".", "--out", "made for it"])
    (line,) = suggested(capsys.readouterr().out)
    assert line == ["python", "-m", "supernet.train", "--task", "made for it"]


def test_a_dry_run_fits_the_screen_and_suggests_the_training(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    words = settings()
    train([*words, "--dry-run"])
    printed = capsys.readouterr().out
    assert max(map(len, printed.partition("next:")[0].splitlines())) <= 80
    assert suggested(printed) == [["python", "-m", "supernet.train", *words]]


def test_suggestions_after_measuring_replace_existing_exports(tmp_path: Path) -> None:
    run = Run(tmp_path)
    first = [shlex.split(line) for line, _ in suggestions(run)]
    assert first[0] == ["python", "-m", "supernet.export", str(tmp_path), "--all", "--int8"]
    assert first[1] == ["python", "-m", "selection", str(tmp_path), "--budget", "latency=20ms"]
    run.export_folder("2").mkdir(parents=True)
    assert [shlex.split(line) for line, _ in suggestions(run)] == [[*first[0], "--force"], first[1]]
