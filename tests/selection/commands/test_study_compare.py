"""``python -m selection.study compare`` from its options to its reports, with short trainings."""

from __future__ import annotations

import shutil
from pathlib import Path

import optuna
import pytest
from optuna.artifacts import get_all_artifact_meta

from selection.study.__main__ import main
from selection.study.preferred_rate import tried
from selection.study.trial_runner import given
from supernet.runs.run import Run
from supernet.runs.selection_file import Selection
from supernet.scoring.error_rates import score
from supernet.settings.presets import load_file
from tests.selection.commands.studies import lines
from tests.supernet.processes import run
from tests.supernet.reporting.html import Page

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("at_desk")]


@pytest.fixture(scope="session")
def compared(desk: Path) -> tuple[Path, str]:
    """A finished comparison, and its output."""
    out, _ = run("selection.study", "compare", "--config", "compare.yaml", "--out", "studies/all", cwd=desk)
    return desk / "studies" / "all", out


def test_a_comparison_trains_each_run_once_and_evaluates_every_contender(compared: tuple[Path, str]) -> None:
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


def test_error_rates_match_the_transcripts_of_the_runs(compared: tuple[Path, str]) -> None:
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


def test_results_and_selections_are_stored_as_artifacts(compared: tuple[Path, str]) -> None:
    folder, _ = compared
    study = optuna.load_study(study_name="all", storage=f"sqlite:///{folder / 'study.db'}")
    kept = {
        given(trial)["training"]: {
            meta.filename for meta in get_all_artifact_meta(trial, storage=study._storage)
        }
        for trial in study.trials
    }
    assert kept["on-demand-24-seed0"] == {"results.json", "tail.json", "greedy.json"}
    assert kept["individual-2-24-seed0"] == {"results.json"}


def test_repeating_the_command_trains_nothing_and_gives_the_same_report(compared: tuple[Path, str]) -> None:
    folder, _ = compared
    before = (folder / "results.csv").read_text(), (folder / "report.html").read_text()
    times = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/model.safetensors")}
    main(["compare", "--config", "compare.yaml", "--out", str(folder)])
    (folder / "report.html").unlink()
    main(["report", str(folder)])
    assert (folder / "results.csv").read_text() == before[0]
    assert (folder / "report.html").read_text() == before[1]
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_continuing_with_other_settings_is_an_error(
    compared: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = compared
    with pytest.raises(SystemExit) as ended:
        main(["compare", "--config", "compare.yaml", "--out", str(folder), "--steps", "12"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "settings.train.num_steps was 24, is 12" in line


def test_contenders_can_be_added_and_removed(
    compared: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What has been trained stays; a strategy that is added chooses from networks that are there."""
    folder = tmp_path / "all"
    shutil.copytree(compared[0], folder)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/model.safetensors")}
    rates = {(line["contender"], line["size"]): line["wer"] for line in lines(folder)}
    command = ["compare", "--config", "compare.yaml", "--out", str(folder)]
    changes = ["--set", "variants={hot: null, cool: {train: {lr: 0.001}}}"]
    changes += ["--set", "methods={simple-top-k: null, on-demand: [tail, every-other]}"]
    main([*command, *changes])
    found = {(line["contender"], line["size"]): line["wer"] for line in lines(folder)}
    names = ("on-demand, tail", "on-demand, every-other", "individual", "cool")
    assert {*found} == {(name, size) for name in names for size in ("2", "4")}
    assert all(rates[key] == rate for key, rate in found.items() if key in rates)
    new = {*folder.glob("runs/*/model.safetensors")} - {*before}
    assert [path.parent.name for path in new] == ["cool-24-seed0"]
    main(command)
    assert {(line["contender"], line["size"]): line["wer"] for line in lines(folder)} == rates
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(SystemExit) as ended:  # its run is there, with another learning rate
        main([*command, "--set", "variants.cool.train.lr=0.02"])
    assert ended.value.code == 2
    assert "cool.train.lr was 0.001, is 0.02" in capsys.readouterr().err.splitlines()[-1]


def test_all_kinds_of_controls_can_be_compared(desk: Path) -> None:
    """Fixed masks, grown networks with strategies, networks that are pruned and fine-tuned, or imitated."""
    run("selection.study", "compare", "--config", "controls.yaml", "--out", "studies/controls", cwd=desk)
    folder = desk / "studies" / "controls"
    found = {(line["contender"], line["size"]): line for line in lines(folder)}
    names = ("individual", "random", "grown, tail", "grown, every-other", "alone", "tuned", "taught")
    assert set(found) == {(name, size) for name in names for size in ("2", "4")}
    runs = {path.name: Run(path) for path in (folder / "runs").iterdir()}
    assert {"tuned-2-12-12-seed0", "grown-12-seed0", "grown-24-seed0"} <= set(runs)
    start, tuned = runs["grown-12-seed0"], runs["tuned-2-12-12-seed0"]
    assert found["tuned", "2"]["kept"] == "layers.0 layers.2"
    assert Selection.load(start.selection_file("every-other")).choice("2").subnet.kept == (
        "layers.0", "layers.2",
    )  # fmt: skip
    config = tuned.config_data()
    assert config["model"]["init"] == str(start.folder.absolute())
    assert config["train"]["lr"] == 0.001
    # Both trainings count once: 9 updates of 2 units and 3 of 4, then 12 of 2.
    assert float(found["tuned", "2"]["unit_steps"]) == 24
    assert float(found["tuned", "4"]["unit_steps"]) == 30
    assert float(found["tuned", "4"]["wer"]) == start.results()["sizes"]["4"]["test"]["wer"]
    assert [name for name, _ in runs["alone-4-24-seed0"].results()["phases"]] == ["first units", "alone"]
    teacher = runs["taught-12-12-seed0"].config_data()["passes"]["teacher"]
    assert teacher == str(start.folder.absolute())
    # Half of the updates are the teacher's: 9 of 2 units and 3 of 4. The others cost something, too.
    assert float(found["taught", "4"]["unit_steps"]) > 30


def test_units_of_different_kinds_are_compared_within_the_same_budgets(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = desk / "studies" / "budgets"
    main(["compare", "--config", "budgets.yaml", "--out", str(folder)])
    printed = capsys.readouterr().out
    assert "macs=60%: lowest WER with" in printed
    assert "macs=60% units" not in printed
    found = {(line["contender"], line["size"]): line for line in lines(folder)}
    names, budgets = ("individual", "modules", "pruned, tail", "tuned"), ("macs=60%", "macs=100%")
    assert set(found) == {(name, budget) for name in names for budget in budgets}
    full = {float(found[name, "macs=100%"]["macs"]) for name in names}
    assert len(full) == 1
    for name in names:
        assert 0.4 * max(full) < float(found[name, "macs=60%"]["macs"]) <= 0.6 * max(full)
    kept = {name: found[name, "macs=60%"]["kept"].split() for name in names}
    assert kept["individual"] == ["layers.0", "layers.1"]
    assert "layers.0.ffn1.0" in kept["tuned"]
    assert kept["tuned"] == kept["pruned, tail"]
    # In layers: 24 updates of four cost 96, and 12 of two and a little more cost 24 and a little more.
    assert float(found["pruned, tail", "macs=100%"]["unit_steps"]) == pytest.approx(96)
    assert 24 < float(found["tuned", "macs=60%"]["unit_steps"]) < 12 * 2.4
    names_of_units = Page((folder / "report.html").read_text(encoding="utf-8")).text
    assert "macs=60%:" in names_of_units


def test_every_training_has_the_learning_rate_that_validation_prefers(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two rates are tried with the first seed, where the better one is the run that counts."""
    folder = desk / "studies" / "rates"
    command = ["compare", "--config", "rates.yaml", "--out", str(folder)]
    main([*command, "--dry-run"])
    assert not folder.exists()
    rows = {row[0]: row[1:] for line in capsys.readouterr().out.splitlines() if (row := line.split())}
    assert rows["individual-4-24-rate0.002-seed0"][:2] == ["24", "96"]
    assert rows["15"][:2] == ["trainings", "252"], "two sizes, their teacher, and what imitates it"
    main(command)
    assert capsys.readouterr().out.startswith("15 trainings of 252 updates in all")
    study = optuna.load_study(study_name="rates", storage=f"sqlite:///{folder / 'study.db'}")
    runs = {path.name for path in (folder / "runs").iterdir()}
    assert len(runs) == 15

    def best(training: str) -> str:
        """The preferred rate in the name of a run; both rates must have been tried."""
        errors = tried(study, f"{training}-seed0")
        assert errors is not None
        assert runs >= {f"{training}-rate{rate:g}-seed0" for rate in (0.002, 0.001)}
        return f"rate{min(errors, key=lambda rate: errors[rate]):g}"

    found = {(line["contender"], line["size"], line["seed"]): line["lr"] for line in lines(folder)}
    for seed in ("0", "1"):
        for size in ("2", "4"):
            rate = best(f"individual-{size}-24")
            assert f"rate{float(found['individual', size, seed]):g}" == rate
            assert f"individual-{size}-24-{rate}-seed{seed}" in runs
            taught = Run(folder / "runs" / f"taught-{size}-12-12-{best(f'taught-{size}-12-12')}-seed{seed}")
            teacher = Path(taught.config_data()["passes"]["teacher"])
            assert teacher.name == f"individual-4-12-{best('individual-4-12')}-seed{seed}"
    assert len([name for name in runs if name.endswith("seed1")]) == 5  # the teacher is the same for both
    (picked,) = {found["individual", "4", seed] for seed in ("0", "1")}
    assert picked in Page((folder / "report.html").read_text(encoding="utf-8")).text
