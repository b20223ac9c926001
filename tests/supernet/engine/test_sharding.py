"""Training with weights divided among processes equals training with all weights in every process."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from supernet.errors import ConfigError, UserError
from supernet.network.cutting import cut
from supernet.network.supernet_ctc import SupernetCTC
from supernet.plan import Pass, Plan
from supernet.runs.resolve import resolve
from supernet.runs.run import Run
from supernet.training.step import step_of
from tests.supernet import tiny
from tests.supernet.engine import sharded
from tests.supernet.engine.sharded import CASES
from tests.supernet.processes import LEARNING, free_port, run_ranks, settings, start

SHARDED = ("--set", "train.data_parallelism=fsdp")
AVERAGED = ("--set", "train.average_from=0.25", "--set", "train.average_every=1")
SHORT = (*settings(num_steps=8), *LEARNING, *AVERAGED, "--set", "task.batch_seconds=4")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    run_ranks(["tests.supernet.engine.sharded", folder], folder)
    return folder


def assert_equal(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for name, value in actual.items():
        torch.testing.assert_close(value, expected[name], atol=1e-9, rtol=1e-9, msg=name)


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one(case: str, found: Path) -> None:
    expected, parts = sharded.alone(case), [torch.load(found / f"{case}-{rank}.pt") for rank in (0, 1)]
    for part in parts:
        assert_equal(part, expected)
    assert set(expected) == {*parts[0], *parts[1]}
    assert expected["loss/0/11"] < expected["loss/0/0"], "the loss must decrease"


@pytest.mark.parametrize("case", CASES)
def test_subnets_of_both_networks_are_equal(case: str, found: Path) -> None:
    outputs = []
    for state in (sharded.alone(case), torch.load(found / f"{case}-1.pt")):
        net = SupernetCTC(sharded.config_of(case), tiny.NUM_TOKENS).double()
        net.load_state_dict({name: state[name] for name in net.state_dict()})
        data = tiny.batch([60, 33])
        for mask in net.masks.bool().tolist():
            assert any(mask), "sizes must have been chosen"
            small = cut(net, net.table.subnet(mask))
            outputs.append(small.log_probs(data.features_BTF, data.num_frames, small.table.full))
    half = len(outputs) // 2
    for one, other in zip(outputs[:half], outputs[half:], strict=True):
        torch.testing.assert_close(one, other, atol=1e-8, rtol=1e-8)


def train_on_two_machines(*command: str | Path, cwd: Path) -> None:
    """Train with two launchers of one process each, which find each other as on two machines."""
    port = free_port()
    launchers = [
        start(
            ["torch.distributed.run", "--nnodes", "2", "--node-rank", rank, "--nproc-per-node", "1",
             "--master-addr", "127.0.0.1", "--master-port", port, "-m", *command],
            cwd,
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    for launcher in launchers:
        out_, err = launcher.communicate(timeout=300)
        assert launcher.returncode == 0, f"{out_}\n{err}"


def test_a_run_on_two_machines_is_the_same_with_divided_weights(place: Path) -> None:
    command = ["supernet.train", *SHORT, "--out"]
    run_ranks([*command, "runs/replicated"], place)
    train_on_two_machines(*command, "runs/divided", *SHARDED, cwd=place)
    runs = [Run(place / "runs" / name) for name in ("replicated", "divided")]
    ours, theirs = (load_file(run.model_stem.with_suffix(".safetensors")) for run in runs)
    assert_equal(
        {name: x.double() for name, x in theirs.items()}, {name: x.double() for name, x in ours.items()}
    )
    assert runs[0].subnets() == runs[1].subnets()
    assert [row["test"]["wer"] for row in runs[0].results()["sizes"].values()] == [
        row["test"]["wer"] for row in runs[1].results()["sizes"].values()
    ]
    parts = sorted((runs[1].folder / "checkpoints" / "step_8" / "model").rglob("*.pt"))
    sizes = [part.stat().st_size for part in parts]
    assert len(sizes) == 2, "each process must save its part"
    whole = (runs[0].folder / "checkpoints" / "step_8" / "model").rglob("*.pt")
    assert max(sizes) < 0.8 * next(whole).stat().st_size

    # Resumed from its second to last checkpoint, the training has the same result.
    folder = place / "runs" / "resumed"
    shutil.copytree(runs[1].folder, folder)
    shutil.rmtree(folder / "checkpoints" / "step_8")
    (folder / "results.json").unlink()
    (folder / "model.safetensors").unlink()
    run_ranks([*command, "runs/resumed", *SHARDED], place)
    again = load_file(folder / "model.safetensors")
    assert all(torch.equal(again[name], x) for name, x in theirs.items())
    kept = runs[1].results()["averaging"]["kept"]
    other = f"model-{'last' if kept == 'average' else 'average'}.safetensors"
    again, before = load_file(folder / other), load_file(runs[1].folder / other)
    assert all(torch.equal(again[name], x) for name, x in before.items())


def test_divided_weights_cannot_be_used_with_loss_scaling() -> None:
    with pytest.raises(ConfigError, match=r"`train\.precision` must be float32 or bfloat16"):
        resolve([{"train": {"data_parallelism": "fsdp", "precision": "float16"}}])


def test_divided_weights_cannot_be_trained_in_parts() -> None:
    net = SupernetCTC(sharded.config_of("layers"), tiny.NUM_TOKENS)
    net.is_sharded = True
    plan = Plan((Pass("4", net.table.full),), learning="scorer")
    with pytest.raises(UserError, match=r"`train\.data_parallelism` must be ddp"):
        net(tiny.batch([60], dtype=torch.float32), step_of(plan, 1))
