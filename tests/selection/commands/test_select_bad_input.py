"""``python -m selection`` rejects invalid input with clear messages."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from selection import __main__ as command
from supernet.runs.run import Run
from tests.selection.commands.selecting import QUICK
from tests.tasks.folders import write_folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runs/nowhere"], ["`RUN` must be a run folder, but there is no such folder: 'runs/nowhere'"]),
        (["runs/finished", "--strategies", "greedi"], ["but is 'greedi' instead. Did you mean greedy"]),
        (["runs/finished", "--strategies", ","], ["`--strategies` must name at least one strategy"]),
        (
            ["runs/finished", "--sizes", "5"],
            ["`size` must lie between 1 and 4, the units of this network, but is 5"],
        ),
        (["runs/finished", "--sizes", "0"], ["`size` must lie between 1 and 4"]),
        (["runs/finished", "--sizes", "two"], ["`--sizes` must be numbers of units, e.g. 4,6,8"]),
        (["runs/finished", "--sizes", "50%"], ["`--sizes` must be numbers of units"]),
        (["runs/finished", "--budget", "weight=3"], ["`--budget` must look like params=50%"]),
        (["runs/finished", "--budget", "params=1%"], ["but the cheapest subnet costs", "Ask for params="]),
        (["runs/finished", "--budget", "latency=0.000001ms"], ["Ask for latency="]),
        (["runs/finished", "--utterances", "0"], ["`--utterances` must be at least 1, but is 0 instead"]),
        (
            ["runs/finished", "--seconds", "0"],
            ["`--seconds` must lie between 0.1 and 3600, but is 0 instead"],
        ),
        (["runs/finished", "--set", "evolution=3"], ["`--set` must look like evolution.option=value"]),
        (["runs/finished", "--set", "nothing.x=3"], ["`--set` nothing.… must be about a strategy"]),
        (
            ["runs/finished", "--set", "evolution.parents=1"],
            ["`evolution.parents` must be greater than or equal"],
        ),
        (
            [
                "runs/finished",
                "--strategies",
                "x,tail",
                "--sizes",
                "x",
                "--budget",
                "y=1",
                "--utterances",
                "-1",
            ],
            ["`strategy` must be one of", "`--sizes` must", "`--budget` must", "`--utterances` must"],
        ),
        (["runs/finished", "--budget", "params=1%", "--budget", "macs=1%"], ["params=1%", "macs=1%"]),
        (
            [
                "runs/finished",
                "--strategies",
                "exhaustive",
                "--sizes",
                "2",
                "--set",
                "exhaustive.max_subnets=5",
            ],
            ["`--strategies` exhaustive must be able to choose, but cannot", "6 subnets, more than"],
        ),
    ],
)
def test_each_problem_is_one_clear_line(
    finished: tuple[Run, str],
    here: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: list[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        command.main(arguments)
    assert end.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    for word in words:
        assert word in "\n".join(lines)
    assert not (here / "runs" / "nowhere").exists()


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("model.safetensors", b"", "must be a model, but are not"),
        ("model.json", b"{", "must be JSON"),
        ("config.yaml", b"[", "must be YAML"),
        ("config.yaml", b"sizes: []", "`sizes` must name at least one size"),
        ("subnets", None, "`RUN` must have been trained to the end"),
        ("selections/evidence.sqlite", b"not a database, but long enough", "must be this program's own file"),
    ],
)
def test_a_damaged_run_is_an_error(
    finished: tuple[Run, str],
    here: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    content: bytes | None,
    words: str,
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(finished[0].folder, folder)
    if content is None:
        shutil.rmtree(folder / file)
    else:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(content)
    with pytest.raises(SystemExit) as end:
        command.main([str(folder), *QUICK])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_missing_corpus_is_an_error_and_can_be_replaced(
    finished: tuple[Run, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(finished[0].folder, tmp_path / "runs" / "alone")
    config = tmp_path / "runs" / "alone" / "config.yaml"
    config.write_text(config.read_text().replace(finished[0].config_data()["task"]["path"], "/gone/tones"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        command.main(["runs/alone", *QUICK])
    assert end.value.code == 2
    assert "/gone/tones" in capsys.readouterr().err
    write_folder(tmp_path / "tones", train=24, valid=6, test=8)
    command.main(["runs/alone", "--strategies", "tail", *QUICK, "--set", "task.path=tones"])
