"""Runs with averaged weights: the choice of weights, resuming, and later averages of checkpoints."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from statistics import mean

import pytest
import torch
from safetensors.torch import load_file

from supernet import cut, evaluate
from supernet.runs.model_file import load
from supernet.runs.run import Run
from tests.supernet.processes import LEARNING, digest, run, settings, stop_at

pytestmark = pytest.mark.slow

OPTIONS = [*settings(average_every=2, keep_checkpoints=9), *LEARNING, "--set", "train.average_from=0.3"]


@pytest.fixture(scope="module")
def averaged(place: Path) -> tuple[Run, str]:
    printed, _ = run("supernet.train", *OPTIONS, "--out", "runs/averaged", cwd=place)
    return Run(place / "runs" / "averaged"), printed


def optimizer_averages(run_: Run) -> list[torch.Tensor]:
    """The averages in the last checkpoint."""
    file = run_.folder / "checkpoints" / "step_24" / "optimizer" / "pp_00" / "tp_00" / "sdp_00.pt"
    states = torch.load(file, weights_only=True)["state"].values()
    return [state["average"] for state in states if "average" in state]


def test_the_weights_with_the_lower_mean_validation_error_are_kept(averaged: tuple[Run, str]) -> None:
    run_, printed = averaged
    choice = run_.results()["averaging"]
    better = mean(choice["average"].values()) < mean(choice["last"].values())
    assert choice["kept"] == ("average" if better else "last")
    assert choice["average"].keys() == choice["last"].keys() == {"2", "4"}
    other = "last" if better else "average"
    assert "weights kept:" in printed
    files = {name: load_file(run_.folder / f"{name}.safetensors") for name in ("model", f"model-{other}")}
    averages = files["model" if better else "model-average"]
    known = optimizer_averages(run_)
    assert len(known) > 100
    tensors = list(averages.values())
    assert all(any(torch.equal(average, tensor) for tensor in tensors) for average in known)
    assert any(not torch.equal(files["model"][name], files[f"model-{other}"][name]) for name in averages)
    assert load(run_.other_model_stem(other)).recognizer.table == load(run_.model_stem).recognizer.table


def test_the_last_weights_are_those_of_a_run_without_averages(
    averaged: tuple[Run, str], finished: tuple[Run, str]
) -> None:
    kept = averaged[0].results()["averaging"]["kept"]
    last = "model" if kept == "last" else "model-last"
    assert digest(averaged[0].folder / f"{last}.safetensors") == digest(
        finished[0].folder / "model.safetensors"
    )


def test_a_run_killed_twice_and_resumed_has_the_same_averages(averaged: tuple[Run, str], place: Path) -> None:
    out = Run(place / "runs" / "averaged-killed")
    command = ["supernet.train", *OPTIONS, "--out", f"runs/{out.name}"]
    for step in (4, 16):  # before the first average, and when units have joined at different times
        assert stop_at(step, command, out.folder, place, signal.SIGKILL) == -signal.SIGKILL
    run(*command, cwd=place)
    assert out.results()["averaging"] == averaged[0].results()["averaging"]
    for file in averaged[0].folder.glob("model*.safetensors"):
        assert digest(out.folder / file.name) == digest(file), file.name


def weights_at(run_: Run, step: int) -> dict[str, torch.Tensor]:
    file = run_.folder / "checkpoints" / f"step_{step}" / "model" / "pp_00" / "tp_00" / "sdp_00.pt"
    found: dict[str, torch.Tensor] = torch.load(file, weights_only=True)
    return found


def test_averages_of_checkpoints_start_when_each_unit_joined(
    averaged: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The smallest size trains alone until update 20, when the others join."""
    run_ = averaged[0]
    starts = dict(run_.results()["phases"])
    assert starts["joint"] == 20
    cut.main(["runs/averaged", "--size", "4", "--out", "cut-average", "--average", "8-24"])
    found = load_file(here / "cut-average" / "model.safetensors")
    small = {f"encoder.{name}." for name in run_.subnets()["2"].kept}
    steps = [8, 12, 16, 20, 24]
    for name, tensor in found.items():
        is_late = name.startswith("encoder.layers.") and not name.startswith(tuple(small))
        counted = [step for step in steps if step > starts["joint"] or not is_late]
        if not name.startswith("scorer"):
            expected = torch.stack([weights_at(run_, step)[name] for step in counted]).mean(0)
            torch.testing.assert_close(tensor, expected, msg=name)
    assert json.loads((here / "cut-average" / "model.json").read_text())["provenance"]["weights"] == (
        "average-8-24"
    )


def test_a_window_of_one_checkpoint_is_that_checkpoint(averaged: tuple[Run, str], here: Path) -> None:
    cut.main(["runs/averaged", "--size", "4", "--out", "cut-one", "--average", "24-24"])
    found, state = load_file(here / "cut-one" / "model.safetensors"), weights_at(averaged[0], 24)
    assert all(torch.equal(found[name], state[name]) for name in found if not name.startswith("scorer"))


def test_averages_of_checkpoints_are_evaluated_under_their_own_name(
    averaged: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digest(averaged[0].transcripts_file("test-2"))
    evaluate.main(["runs/averaged", "--average", "16-24"])
    assert "averaged, average 16-24, test" in " ".join(capsys.readouterr().out.split())
    assert averaged[0].transcripts_file("test-average-16-24-2").is_file()
    assert digest(averaged[0].transcripts_file("test-2")) == before


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (
            "1-3",
            "`--average` must span checkpoints of 'runs/averaged', but 1-3 does not: there are 4, 8, 12,",
        ),
        ("9-3", "`--average` must be two numbers of updates such as 2000-3000, but is '9-3' instead."),
        ("all", "`--average` must be two numbers of updates"),
    ],
)
def test_windows_without_checkpoints_are_errors(
    averaged: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str], window: str, expected: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        evaluate.main(["runs/averaged", "--average", window])
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert expected in line


def test_checkpoints_of_another_network_are_errors(
    averaged: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = here / "runs" / "averaged-other"
    shutil.copytree(averaged[0].folder, other)
    file = other / "checkpoints" / "step_24" / "model" / "pp_00" / "tp_00" / "sdp_00.pt"
    state = torch.load(file, weights_only=True)
    state["heads.shared.bias"] = torch.zeros(3)
    torch.save(state, file, pickle_protocol=2)
    with pytest.raises(SystemExit, match="2"):
        evaluate.main(["runs/averaged-other", "--average", "24-24"])
    assert "must fit the network of the run, but does not, e.g. heads.shared.bias" in capsys.readouterr().err
