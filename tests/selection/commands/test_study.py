"""``python -m selection.study`` from its options to its reports, on trainings of seconds."""

from __future__ import annotations

import csv
import json
import signal
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.artifacts import get_all_artifact_meta
from optuna.trial import TrialState

from selection.study.__main__ import main
from selection.study.definition import TuneDefinition, checked
from selection.study.tune_runner import Follow, TuneRunner
from supernet.console.screen import console
from supernet.runs.resolve import resolve
from supernet.runs.run import Run
from supernet.scoring.error_rates import Measure, score
from supernet.settings.presets import load_file
from tests.supernet.processes import NET, TRAIN, run, start
from tests.supernet.reporting.html import Page

SETTINGS = {
    "task": {"name": "manifest", "path": "tones", "batch_seconds": 8},
    "sizes": [2, 4],
    "device": "cpu",
    "model": NET,
    "train": TRAIN,
}
COMPARE: dict[str, Any] = {
    "settings": SETTINGS,
    "methods": {"simple-top-k": [], "on-demand": ["tail", "greedy"], "individual": []},
    "variants": {"hot": {"train": {"lr": 0.01}}},
    "seeds": [0],
    "regimes": ["updates"],
}
TUNE: dict[str, Any] = {
    "settings": SETTINGS,
    "space": {
        "train.lr": {"low": 0.0005, "high": 0.02, "log": True},
        "model.intermediate": {"choices": [[2], [1, 3]]},
    },
    "trials": [{"train.lr": 0.002, "model.intermediate": [2]}],
}


@pytest.fixture(scope="session")
def desk(place: Path) -> Path:
    """The working folder, with two studies' files in it."""
    for name, study in (("compare", COMPARE), ("tune", TUNE)):
        (place / f"{name}.yaml").write_text(yaml.safe_dump(study))
    return place


@pytest.fixture(autouse=True)
def _wide(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.setattr(console, "width", 160)


@pytest.fixture(scope="session")
def compared(desk: Path) -> tuple[Path, str]:
    """A finished comparison, and what it printed."""
    out, _ = run("selection.study", "compare", "--config", "compare.yaml", "--out", "studies/all", cwd=desk)
    return desk / "studies" / "all", out


def lines(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_comparison_trains_each_run_once_and_judges_every_contender(compared: tuple[Path, str]) -> None:
    folder, out = compared
    runs = {path.name for path in (folder / "runs").iterdir()}
    assert runs == {
        "simple-top-k-24-seed0", "on-demand-24-seed0", "individual-2-24-seed0", "individual-4-24-seed0",
        "hot-24-seed0",
    }  # fmt: skip
    rates = {name: load_file(folder / "runs" / name / "config.yaml")["train"]["lr"] for name in runs}
    assert rates["hot-24-seed0"] == 0.01
    assert rates["simple-top-k-24-seed0"] != 0.01
    found = lines(folder)
    contenders = {line["contender"] for line in found}
    assert contenders == {"simple-top-k", "on-demand, tail", "on-demand, greedy", "individual", "hot"}
    assert {line["size"] for line in found} == {"2", "4"}
    for line in found:
        assert line["contender"] in out
        assert len(line["kept"].split()) == int(line["size"])
    assert (folder / "errors-updates.png").read_bytes().startswith(b"\x89PNG")
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert page.outside == []
    (picture,) = page.pictures
    assert contenders <= set(picture.texts)
    assert {"test WER (MACs: 10 s)", "Test WER at the same number of updates"} <= set(picture.texts)
    assert [text for text in picture.texts if text.startswith(("2 units", "4 units"))]
    assert "At the same number of updates" in out


def test_its_error_rates_are_those_of_the_runs_transcripts(compared: tuple[Path, str]) -> None:
    folder, _ = compared
    for line in lines(folder):
        name = "-".join([line["contender"].split(",")[0], "24-seed0"])
        label = line["size"]
        if line["contender"] == "individual":
            name = f"individual-{line['size']}-24-seed0"
        elif "," in line["contender"]:
            label = f"{line['contender'].split(', ')[1]}-{label}"
        _, references, hypotheses = zip(
            *Run(folder / "runs" / name).transcripts(f"test-{label}"), strict=True
        )
        assert float(line["wer"]) == pytest.approx(score(references, hypotheses).wer)


def test_results_and_selections_are_kept_as_artifacts(compared: tuple[Path, str]) -> None:
    folder, _ = compared
    study = optuna.load_study(study_name="all", storage=f"sqlite:///{folder / 'study.db'}")
    kept = {
        trial.params["training"]: {
            meta.filename for meta in get_all_artifact_meta(trial, storage=study._storage)
        }
        for trial in study.trials
    }
    assert kept["on-demand-24-seed0"] == {"results.json", "tail.json", "greedy.json"}
    assert kept["individual-2-24-seed0"] == {"results.json"}


def test_the_same_command_trains_nothing_again_and_reports_the_same(compared: tuple[Path, str]) -> None:
    folder, _ = compared
    before = (folder / "results.csv").read_text(), (folder / "report.html").read_text()
    times = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/model.safetensors")}
    main(["compare", "--config", "compare.yaml", "--out", str(folder)])
    (folder / "report.html").unlink()
    main(["report", str(folder)])
    assert (folder / "results.csv").read_text() == before[0]
    assert (folder / "report.html").read_text() == before[1]
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_comparison_of_another_shape_is_refused(
    compared: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = compared
    with pytest.raises(SystemExit) as ended:
        main(["compare", "--config", "compare.yaml", "--out", str(folder), "--seeds", "0,1"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "seeds was [0], is [0, 1]" in line


def test_a_search_prunes_what_is_bad_and_keeps_what_was_listed_first(
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


def rates(two: float, four: float) -> dict[str, float]:
    """Validation error rates of words; of characters half as many."""
    return {"wer/2": two, "wer/4": four, "cer/2": two / 2, "cer/4": four / 2}


def test_sizes_that_train_later_do_not_get_a_trial_pruned(tmp_path: Path) -> None:
    """With `passes.smallest_first` the larger ones write nothing for most of the run."""
    space = {"train.lr": {"low": 0.0005, "high": 0.02}}
    definition = checked(
        TuneDefinition, {"settings": {**SETTINGS, "task": "generated-speech"}, "space": space}
    )
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=0.5))
    trial = study.ask()
    follow = Follow(trial, TuneRunner(definition, tmp_path, 1), last=24)
    follow(8, "wer", rates(0.4, 1.0))
    with pytest.raises(optuna.TrialPruned):
        follow(12, "wer", rates(0.6, 1.0))
    assert study.trials[0].intermediate_values == {8: 0.4, 12: 0.6}


@pytest.mark.parametrize(
    ("objective", "measure", "value"),
    [("errors", "wer", 0.4), ("errors", "cer", 0.2), ("cer", "wer", 0.2), ("wer/4", "cer", 0.4)],
)
def test_a_search_follows_what_texts_are_judged_by(
    objective: str, measure: Measure, value: float, tmp_path: Path
) -> None:
    settings = {"settings": {**SETTINGS, "task": "generated-speech"}, "objectives": [objective]}
    space = {"train.lr": {"low": 0.0005, "high": 0.02}}
    job = TuneRunner(checked(TuneDefinition, {**settings, "space": space}), tmp_path, 1)
    study = optuna.create_study()
    Follow(study.ask(), job, last=24)(8, measure, rates(0.4, 1.0))
    assert study.trials[0].intermediate_values == {8: value}
    judged = {"wer": {2: 0.4, 4: 1.0}, "cer": {2: 0.2, 4: 0.5}}
    (found,) = job.values({"errors": judged[measure], **judged}, 10)
    mean = {"errors": sum(judged[measure].values()) / 2, "cer": 0.35, "wer/4": 1.0}
    assert found == pytest.approx(mean[objective])


def test_a_training_that_is_done_is_not_pruned(desk: Path) -> None:
    folder = desk / "studies" / "late"
    pruner = "pruner={name: ThresholdPruner, upper: 0.0001, n_warmup_steps: 13}"
    main(["tune", "--config", "tune.yaml", "--out", str(folder), "--trials", "1", "--set", pruner])
    study = optuna.load_study(study_name="late", storage=f"sqlite:///{folder / 'study.db'}")
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]


def test_a_search_with_several_objectives_ends_with_a_front(desk: Path) -> None:
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


def test_a_killed_search_continues_from_the_checkpoint(desk: Path) -> None:
    folder = desk / "studies" / "killed"
    command = ["selection.study", "tune", "--config", "tune.yaml", "--out", "studies/killed", "--trials", "1"]
    command += ["--grace", "4", "--set", "settings.train.num_steps=60"]
    process = start(command, desk)
    trained = folder / "runs" / "trial-0000"
    while not (trained / "checkpoints" / "step_12").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not Run(trained).is_finished
    out, _ = run(*command, cwd=desk)
    study = optuna.load_study(study_name="killed", storage=f"sqlite:///{folder / 'study.db'}")
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert study.trials[0].params == study.trials[1].params
    assert study.trials[1].user_attrs["run"] == "trial-0000"
    steps = [json.loads(line)["step"] for line in (trained / "scores.jsonl").read_text().splitlines()]
    assert steps.count(2) == 1  # trained once: the second worker began behind the checkpoint
    assert "1 complete" in out


def test_ctrl_c_keeps_what_was_trained(desk: Path) -> None:
    command = [
        "selection.study",
        "tune",
        "--config",
        "tune.yaml",
        "--out",
        "studies/stopped",
        "--trials",
        "1",
    ]
    command += ["--set", "settings.train.num_steps=60"]
    process = start(command, desk)
    trained = desk / "studies" / "stopped" / "runs" / "trial-0000"
    while not (trained / "checkpoints" / "step_12").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Stopped. All work so far is kept in studies/stopped. The same command continues." in complaints
    assert "Traceback" not in complaints
    run(*command, cwd=desk)
    assert Run(trained).is_finished


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["compare", "--config", "none.yaml"], ["there is no such file: 'none.yaml'"]),
        (["compare", "--config", "compare.yaml", "--seeds", "a"], ["`seeds.0`"]),
        (["compare", "--config", "compare.yaml", "--grace", "1"], ["`--grace` must be at least 4, but is 1"]),
        (["tune", "--config", "tune.yaml", "--trials", "0"], ["`--trials` must be at least 1"]),
        (["tune", "--config", "tune.yaml", "--method", "magic"], ["`method` must be one of"]),
        (["tune", "--config", "tune.yaml", "--storage", "nonsense"], ["`--storage` must be reachable"]),
        (
            [
                "tune",
                "--config",
                "tune.yaml",
                "--set",
                "space={train.lr: {low: 7}}",
                "--set",
                "objectives=[x]",
            ],
            ["`space.train.lr` must be a range", "`trials.0` must lie within `space`"],
        ),
        (["compare", "--config", "tune.yaml"], ["`space` must be a setting", "`trials` must be a setting"]),
    ],
)
def test_bad_input(
    command: list[str], expected: list[str], desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--out", "studies/bad"])
    assert ended.value.code == 2
    complaints = capsys.readouterr().err.splitlines()
    assert len(complaints) == len(expected)
    for line, words in zip(complaints, expected, strict=True):
        assert line.startswith("error: ")
        assert words in line
    assert not list(desk.glob("studies/bad/runs/*"))


def test_a_folder_without_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path)])
    assert ended.value.code == 2
    assert f"`FOLDER` must hold a study, but '{tmp_path}' has no study.db" in capsys.readouterr().err
