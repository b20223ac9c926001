"""``python -m selection.study tune`` from its options to its reports, with short trainings."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from selection.study.__main__ import main
from supernet.runs.resolve import resolve
from supernet.runs.run import Run
from supernet.settings.presets import load_file
from tests.selection.commands.studies import lines
from tests.supernet.processes import run
from tests.supernet.reporting.html import Page

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("at_desk")]


def test_a_search_starts_with_the_listed_trials_and_prunes_bad_ones(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = desk / "studies" / "pruned"
    pruner = "pruner={name: ThresholdPruner, upper: 0.0001}"
    main(["tune", "--config", "tune.yaml", "--out", str(folder), "--trials", "2", "--set", pruner])
    study = optuna.load_study(study_name="pruned", storage=f"sqlite:///{folder / 'study.db'}")
    assert [trial.state for trial in study.trials] == [TrialState.PRUNED] * 2
    assert study.trials[0].params == {"train.lr": 0.002, "model.intermediate": "[2]"}
    assert list(study.trials[0].intermediate_values) == [12]  # the first of two validations
    assert not Run(folder / "runs" / "trial-0000").is_finished
    assert "pruned at step 12" in capsys.readouterr().out
    assert "No trial has been completed yet" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (["tune", "--config", "tune.yaml", "--trials", "2"], ["trial-0000", "trial-0001", "2 trainings"]),
        (["curves", "--config", "curves.yaml"], ["4-12-rate0.001-seed0", "2-24-seed0", "6 trainings"]),
    ],
)
def test_a_dry_run_lists_trainings_and_writes_nothing(
    kind: list[str], names: list[str], desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*kind, "--out", "studies/planned", "--dry-run"])
    out = capsys.readouterr().out
    assert all(name in out for name in names)
    assert "python -m selection.study " + kind[0] in out
    assert not (desk / "studies" / "planned").exists()


def test_a_finished_training_is_not_pruned(desk: Path) -> None:
    folder = desk / "studies" / "late"
    pruner = "pruner={name: ThresholdPruner, upper: 0.0001, n_warmup_steps: 13}"
    main(["tune", "--config", "tune.yaml", "--out", str(folder), "--trials", "1", "--set", pruner])
    study = optuna.load_study(study_name="late", storage=f"sqlite:///{folder / 'study.db'}")
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]


def test_a_search_with_several_objectives_reports_the_pareto_front(desk: Path) -> None:
    folder = desk / "studies" / "front"
    options = ["--trials", "2", "--objectives", "wer,compute", "--set", "settings.train.validate_every=4"]
    main(["tune", "--config", "tune.yaml", "--out", str(folder), *options])
    study = optuna.load_study(study_name="front", storage=f"sqlite:///{folder / 'study.db'}")
    for trial in study.trials:
        valid, steps = trial.user_attrs["valid"], trial.user_attrs["unit_steps"]
        assert trial.values == pytest.approx([(valid["2"] + valid["4"]) / 2, steps])
        results = Run(folder / "runs" / trial.user_attrs["run"]).results()
        assert trial.user_attrs["test"]["4"] == results["sizes"]["4"]["test"]["wer"]
    assert (folder / "front.png").is_file()
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert page.outside == []
    assert f"python -m supernet.train --config {folder / 'best.yaml'}" in page.text
    assert {"compute (unit-steps)", "trial"} <= {text for drawn in page.pictures for text in drawn.texts}
    best = min(study.best_trials, key=lambda trial: trial.values)
    found = resolve([load_file(folder / "best.yaml")]).config
    assert found.train.lr == best.params["train.lr"]
    assert list(found.model.intermediate or ()) == json.loads(best.params["model.intermediate"])
    assert [line["state"] for line in lines(folder)] == ["complete"] * 2


def interrupted(name: str, number: signal.Signals, status: int, desk: Path) -> tuple[list[str], str]:
    """Stop a training of 60 updates at the twelfth; return the command that continues it, and its errors."""
    command = ["tune", "--config", "tune.yaml", "--out", f"studies/{name}", "--trials", "1"]
    command += ["--grace", "4", "--set", "settings.train.num_steps=60"]
    _, complaints = run("tests.selection.commands.stopping", number.name, *command, cwd=desk, status=status)
    assert not Run(desk / "studies" / name / "runs" / "trial-0000").is_finished
    return command, complaints


def test_a_killed_search_continues_from_its_checkpoint(desk: Path) -> None:
    command, _ = interrupted("killed", signal.SIGKILL, -signal.SIGKILL, desk)
    out, _ = run("selection.study", *command, cwd=desk)
    folder = desk / "studies" / "killed"
    study = optuna.load_study(study_name="killed", storage=f"sqlite:///{folder / 'study.db'}")
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert study.trials[0].params == study.trials[1].params
    assert study.trials[1].user_attrs["run"] == "trial-0000"
    scores = (folder / "runs" / "trial-0000" / "scores.jsonl").read_text()
    steps = [json.loads(line)["step"] for line in scores.splitlines()]
    assert steps.count(2) == 1  # the second worker continued after the checkpoint
    assert "1 complete" in out


def test_ctrl_c_keeps_the_work_so_far(desk: Path) -> None:
    command, complaints = interrupted("stopped", signal.SIGINT, 130, desk)
    assert "Stopped. All work so far is kept in studies/stopped. The same command continues." in complaints
    assert "Traceback" not in complaints
    run("selection.study", *command, cwd=desk)
    assert Run(desk / "studies" / "stopped" / "runs" / "trial-0000").is_finished
