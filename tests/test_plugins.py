"""Third-party plug-ins: packages with methods, tasks, strategies and so on, used by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from supernet.runs.model_file import load
from supernet.runs.run import Run
from supernet.runs.selection_file import Selection
from supernet.text.tokens import Tokens
from tests.supernet.processes import REPOSITORY, run, settings

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).with_name("plugins")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables with which the installed packages are found."""
    place = tmp_path_factory.mktemp("plugins")
    names = sorted(file.parent.name for file in SOURCE.glob("*/pyproject.toml"))
    for name in names:
        shutil.copytree(SOURCE / name, place / name)  # building writes into the source folder
    run(
        "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
        "--disable-pip-version-check", "--target", place / "installed", *(place / name for name in names),
        cwd=place,
    )  # fmt: skip
    return {"PYTHONPATH": f"{REPOSITORY}:{place / 'installed'}"}


def options(*more: str) -> list[str]:
    tiny = settings(num_steps=6, publish_every=2, checkpoint_every=2, validate_every=2)
    without_corpus = [word for word in tiny if not word.startswith("task.")]
    without_corpus.remove("--set")
    start = without_corpus.index("--task")
    return [
        *without_corpus[:start],
        *without_corpus[start + 2 :],
        "--task",
        "beeps",
        "--method",
        "uniform",
        *more,
    ]


def test_a_third_party_method_trains_on_a_third_party_task(path: dict[str, str], tmp_path: Path) -> None:
    out, _ = run(
        "supernet.train", *options("--set", "method.offset=1", "--out", "run"), cwd=tmp_path, extra=path
    )
    found = Run(tmp_path / "run")
    assert {size: subnet.kept for size, subnet in found.subnets().items()} == {
        "2": ("layers.1", "layers.3"),
        "4": ("layers.0", "layers.1", "layers.2", "layers.3"),
    }
    assert found.results()["phases"] == [["in turn", 0], ["joint", 3]]
    assert found.results()["sizes"]["2"]["test"]["utterances"] == 8
    assert Tokens.load(found.tokens_file).symbols == ("<blk>", " ", "a", "b", "c")
    assert found.config_data()["task"] == {"name": "beeps", "batch_size": 4}
    assert "test WER" in out


def test_its_options_are_checked_and_its_names_are_listed(path: dict[str, str], tmp_path: Path) -> None:
    arguments = options("--set", "method.ofset=1", "--set", "task.batch_size=0", "--out", "run")
    _, err = run("supernet.train", *arguments, cwd=tmp_path, status=2, extra=path)
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(lines) == 2
    assert "`method.ofset` must be a setting that exists, but is not. Did you mean offset?" in lines[0]
    assert "`task.batch_size`" in lines[1]
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def trained(path: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the third-party method on the third-party task, without learned scores."""
    place = tmp_path_factory.mktemp("trained")
    run("supernet.train", *options("--out", "run"), cwd=place, extra=path)
    return place


def test_a_third_party_strategy_chooses(path: dict[str, str], trained: Path) -> None:
    asked = ("--strategies", "shapley,exhaustive", "--sizes", "2", "--set", "shapley.orders=3")
    out, _ = run("selection", "run", *asked, cwd=trained, extra=path)
    assert "shapley" in out
    selection = Selection.load(trained / "run" / "selections" / "shapley.json")
    assert selection.choice("2").subnet.size == 2
    contest = json.loads((trained / "run" / "comparison.json").read_text())["contests"][0]
    rows = {row["strategy"]: row for row in contest["rows"]}
    # Three orders of four units: each distinct subset along them is evaluated once.
    assert 4 + 2 * 1 <= rows["shapley"]["evaluations"] <= 3 * 4 - 2
    assert rows["shapley"]["regret"] >= rows["exhaustive"]["regret"] == 0


def test_a_third_party_strategys_options_are_checked(path: dict[str, str], trained: Path) -> None:
    asked = ("--strategies", "shapley", "--set", "shapley.oders=3", "--set", "shapley.seed=x")
    _, err = run("selection", "run", *asked, cwd=trained, status=2, extra=path)
    lines = sorted(line for line in err.splitlines() if line.startswith("error:"))
    assert len(lines) == 2
    assert "`shapley.oders` must be a setting that exists, but is not. Did you mean orders?" in lines[0]
    assert "`shapley.seed` must be a whole number" in lines[1]


def test_the_contract_checks_a_third_party_strategy(path: dict[str, str], tmp_path: Path) -> None:
    test = shutil.copy(SOURCE / "shapley" / "test_shapley.py", tmp_path)
    out, _ = run("pytest", "-q", "-p", "no:cacheprovider", test, cwd=tmp_path, extra=path)
    assert " passed" in out


def test_the_contract_detects_an_invalid_strategy(path: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "test_wrong.py").write_text(WRONG)
    asked = ("-q", "-p", "no:cacheprovider", "test_wrong.py")
    out, _ = run("pytest", *asked, cwd=tmp_path, status=1, extra=path)
    assert "test_choices_are_deterministic" in out
    assert "test_a_choice_fits_the_budget_and_keeps_a_unit" in out
    assert "test_global_random_generators_are_left_alone" in out


@pytest.mark.parametrize("plugin", ["halves", "neighbors", "packed", "slots"])
def test_the_laws_hold_for_third_party_units_encoders_and_heads(
    plugin: str, path: dict[str, str], tmp_path: Path
) -> None:
    test = shutil.copy(SOURCE / plugin / f"test_{plugin}.py", tmp_path)
    out, _ = run("pytest", "-q", "-p", "no:cacheprovider", test, cwd=tmp_path, extra=path)
    assert " passed" in out


def test_a_third_party_granularity_can_be_trained_cut_and_selected(
    path: dict[str, str], tmp_path: Path
) -> None:
    scores = ("--method", "simple-top-k", "--granularity", "halves", "--set", "model.num_layers=2")
    run("supernet.train", *options(*scores, "--sizes", "5,12", "--out", "run"), cwd=tmp_path, extra=path)
    found = Run(tmp_path / "run")
    subnet = found.subnets()["5"]
    assert subnet.granularity == "halves"
    assert len(subnet.kept) == 5
    run("supernet.cut", "run", "--size", "5", "--out", "small", cwd=tmp_path, extra=path)
    record = json.loads((tmp_path / "small" / "model.json").read_text())
    assert (record["granularity"], record["kept"]) == ("halves", list(subnet.kept))
    asked = ("--strategies", "greedy", "--budget", "params=80%")
    run("selection", "run", *asked, cwd=tmp_path, extra=path)
    assert (tmp_path / "run" / "selections" / "greedy.json").is_file()


def test_a_third_party_scorer_is_trained_saved_and_used_for_cutting(
    path: dict[str, str], tmp_path: Path
) -> None:
    """It has two parameters per unit, gates and penalties computed from them, and weights that shrink."""
    budgets = ("--budget", "macs=60%,100%", "--granularity", "module", "--set", "model.num_layers=2")
    asked = [word for word in options("--method", "uncertain", *budgets, "--out", "run")]
    asked[asked.index("--sizes") : asked.index("--sizes") + 2] = []
    run("supernet.train", *asked, cwd=tmp_path, extra=path)
    found = Run(tmp_path / "run")
    small, large = found.subnets().values()
    assert list(found.subnets()) == ["macs=60%", "macs=100%"]
    assert set(small.kept) < set(large.kept)
    results = found.results()["sizes"]
    assert results["macs=60%"]["macs"] <= 0.6 * results["macs=100%"]["macs"]
    learned = [line for line in found.scores() if line["phase"] == "uncertain"]
    assert learned
    assert all(0 < gate < 1 for line in learned for gate in line["gates"])
    assert any("penalty/cost" in line for line in found.metrics("train"))
    # A model that is handed on needs no plug-in: it has the units' importance, as one score per unit.
    importance = load(found.model_stem).recognizer.scorer.importance()
    assert importance.tolist() == pytest.approx(found.scores()[-1]["scores"], abs=0.1)
    run("supernet.cut", "run", "--size", "macs=60%", "--out", "small", cwd=tmp_path)
    run("selection", "run", "--strategies", "learned", cwd=tmp_path, extra=path)
    assert Selection.load(found.selection_file("learned")).choice("macs=60%").subnet


def test_a_third_party_encoder_is_trained_cut_and_transcribes(path: dict[str, str], tmp_path: Path) -> None:
    encoder = ("--set", "model.encoder=neighbors", "--set", "model.encoder.reach=2", "--sizes", "3,8")
    run(
        "supernet.train",
        *options("--granularity", "module", *encoder, "--out", "run"),
        cwd=tmp_path,
        extra=path,
    )
    found = Run(tmp_path / "run")
    assert found.config_data()["model"]["encoder"] == {"name": "neighbors", "reach": 2}
    assert found.subnets()["8"].kept == tuple(
        f"layers.{i}.{name}" for i in range(4) for name in ("mix", "mlp")
    )
    run("supernet.cut", "run", "--size", "3", "--out", "small", cwd=tmp_path, extra=path)
    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(16000) / 5).astype(np.float32) / 4, 16000)
    for folder in ("run", "small"):
        out, _ = run("supernet.transcribe", folder, "a.wav", cwd=tmp_path, extra=path)
        assert "a.wav" in out


def test_a_third_party_head_is_trained_scored_and_cut(path: dict[str, str], tmp_path: Path) -> None:
    head = ("--set", "model.head=slots", "--set", "model.head.count=6")
    run("supernet.train", *options(*head, "--out", "run"), cwd=tmp_path, extra=path)
    found = Run(tmp_path / "run")
    assert found.config_data()["model"]["head"] == {"name": "slots", "count": 6}
    assert {size: row["test"]["utterances"] for size, row in found.results()["sizes"].items()} == {
        "2": 8,
        "4": 8,
    }
    run("selection", "run", "--strategies", "greedy", "--sizes", "2", cwd=tmp_path, extra=path)
    run("supernet.cut", "run", "--size", "2", "--out", "small", cwd=tmp_path, extra=path)
    soundfile.write(tmp_path / "a.wav", np.zeros(16000, np.float32), 16000)
    for command in (("supernet.transcribe", "small", "a.wav"), ("supernet.export", "run", "--size", "2")):
        _, err = run(*command, cwd=tmp_path, status=2, extra=path)
        (line,) = [line for line in err.splitlines() if line.startswith("error:")]
        assert "must have a network with a framewise `model.head`" in line


WRONG = """
import random

from selection.contract import StrategyContract
from selection.strategy import Strategy

class Wrong(Strategy):
    def select(self, evidence, budget):
        return tuple(random.random() < 0.5 for _ in range(budget.num_units))

class TestWrong(StrategyContract):
    def make(self):
        return Wrong()
"""
