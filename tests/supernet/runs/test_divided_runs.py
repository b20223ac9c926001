"""A run of the full network of another run, with other units."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from selection.__main__ import main as select
from supernet.__main__ import main as program
from supernet.errors import UserError
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.adoption import divided
from supernet.runs.model_file import load
from supernet.runs.run import Run
from supernet.units import Kept
from tests.supernet import tiny
from tests.supernet.complaining import one_error
from tests.supernet.talkative import make_run

UNITS = {"layer": 4, "module": 16, "component": 4 * (2 * 2 + 2 + 1)}
"""The units of four layers; each has two feed-forwards of two chunks, two heads, and a convolution."""


def log_probs(net: SupernetCTC, kept: Kept) -> torch.Tensor:
    data = tiny.batch([90, 61], dtype=torch.float32)
    with torch.no_grad():
        return net.log_probs(data.features_BTF, data.num_frames, kept)[0]


@pytest.mark.parametrize("heads", ["shared", "per-size"])
@pytest.mark.parametrize("granularity", ["module", "component"])
def test_the_full_network_is_the_same(tmp_path: Path, granularity: str, heads: str) -> None:
    run = make_run(tmp_path / "run", heads=heads, max_frames=3000)
    made = divided(run, granularity)
    assert made.folder == tmp_path / f"run-{granularity}"
    before, after = load(run.model_stem), load(made.model_stem)
    assert len(after.recognizer.table) == UNITS[granularity]
    assert list(made.subnets()) == [str(UNITS[granularity])]
    assert after.tokens == before.tokens
    wanted = log_probs(before.recognizer, before.recognizer.table.full)
    torch.testing.assert_close(log_probs(after.recognizer, after.recognizer.table.full), wanted)


def test_units_can_be_made_larger_again(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", max_frames=3000)
    made = divided(divided(run, "component"), "layer")
    before, after = load(run.model_stem).recognizer, load(made.model_stem).recognizer
    for kept in ((True,) * 4, (True, False, True, False)):
        torch.testing.assert_close(log_probs(after, kept), log_probs(before, kept), rtol=0, atol=0)


def test_it_is_made_once_and_belongs_to_its_weights(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", max_frames=3000)
    made = divided(run, "module")
    written = made.model_stem.with_suffix(".safetensors").stat().st_mtime_ns
    assert divided(run, "module").folder == made.folder
    assert made.model_stem.with_suffix(".safetensors").stat().st_mtime_ns == written
    shutil.rmtree(run.folder)
    make_run(run.folder, heads="per-size", max_frames=3000)
    with pytest.raises(UserError, match=r"must be made of the weights of '.*run', but is not\. Rename or"):
        divided(run, "module")
    shutil.copytree(run.folder, tmp_path / "run-component")  # a training that happens to have this name
    with pytest.raises(UserError, match="must be made of the weights of"):
        divided(run, "component")


def test_a_damaged_run_is_not_divided(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", max_frames=3000)
    run.config_file.write_text("sizes: []\n")
    with pytest.raises(UserError, match="`sizes` must name at least one size"):
        divided(run, "component")


@pytest.mark.slow
def test_components_of_a_run_of_layers_are_chosen_without_training(
    finished: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished[0].folder, here / "runs" / "whole")
    command = ["runs/whole", "--granularity", "component", "--strategies", "saliency,tail"]
    select([*command, "--budget", "macs=60%"])
    printed = capsys.readouterr()
    assert "of the full network of 'runs/whole' are chosen in runs/whole-component." in printed.err
    made = Run(here / "runs" / "whole-component")
    (choice,) = json.loads(made.selection_file("saliency").read_text())["choices"]
    assert any(name.endswith((".0", ".1")) for name in choice["kept"])
    (whole,), before = made.results()["sizes"].values(), finished[0].results()["sizes"]["4"]
    assert whole["test"]["wer"] == before["test"]["wer"]
    assert json.loads(made.comparison_file.read_text())["full_costs"]["units"] == len(
        load(made.model_stem).recognizer.table
    )

    program(["pareto", "runs/whole", "runs/whole-component", "--out", "several.png"])
    assert "whole-component" in capsys.readouterr().out
    select(["runs/whole-component", "--strategies", "random", "--budget", "macs=60%"])
    (contest,) = json.loads(made.comparison_file.read_text())["contests"]
    assert {row["strategy"] for row in contest["rows"]} == {"saliency", "tail", "random"}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--granularity", "syllable"], "`granularity` must be one of"),
        (["--granularity", "module", "--task", "tones"], "`--task` must go with a checkpoint"),
    ],
)
def test_wrong_units_are_one_clear_line(
    finished: tuple[Run, str],
    here: Path,
    words: list[str],
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = one_error(select, [str(finished[0].folder), *words, "--strategies", "tail"], capsys)
    assert problem in line
