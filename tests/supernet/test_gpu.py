"""On a GPU: the same losses and gradients as on a CPU, and the commands, which end with the same results.

Their processes start anew: libraries for a GPU start threads when they are imported, see forking.py.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from supernet.network.supernet_ctc import SupernetCTC
from supernet.plan import Plan
from supernet.runs.run import Run
from supernet.system.devices import training_dtype
from supernet.training.step import step_of
from tests.supernet import tiny
from tests.supernet.processes import LEARNING, run, settings, stop_at
from tests.supernet.tiny import recognizer, tiny_config
from tests.supernet.training import test_laws_of_steps as laws

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

GPU = torch.device("cuda")
FRAMES = [60, 33, 5, 47, 52, 60, 41]
PLANS = [
    "every size on the batch",
    "one size per utterance",
    "gated on the batch",
    "gated on rows",
    "both ways",
]


def loss_and_gradients(
    net: SupernetCTC, plan: Plan, device: torch.device, dtype: torch.dtype
) -> list[Tensor]:
    net = net.to(device, dtype)
    data = tiny.batch(FRAMES, dtype=dtype)
    data.to(device)
    loss = net(data, step_of(plan, len(data))).total
    found = [loss, *tiny.gradients(net, loss).values()]
    return [each.detach().cpu() for each in found]


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("layer_type", ["conformer", "transformer"])
@pytest.mark.parametrize("granularity", ["layer", "module"])
def test_losses_and_gradients_are_those_of_a_cpu(granularity: str, layer_type: Any, name: str) -> None:
    found = []
    for device in (torch.device("cpu"), GPU):
        net = recognizer(tiny_config(granularity, layer_type, model={"intermediate": (1, 2, 3)}))
        plan = laws.plans(net)[name]
        # Rows that are dropped are drawn on the device.
        plan = Plan(tuple(replace(each, drop=None) for each in plan.passes))
        found.append(loss_and_gradients(net, plan, device, torch.float64))
    for mine, expected in zip(*reversed(found), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("granularity", ["layer", "module"])
def test_bfloat16_is_the_default_and_close_to_the_exact_result(granularity: str) -> None:
    assert training_dtype("auto", GPU) == torch.bfloat16
    found = []
    for precision in ("float32", "auto"):
        net = recognizer(tiny_config(granularity, train={"precision": precision}, model={"dropout": 0.0}))
        plan = laws.plans(net)["gated on rows"]
        loss, *gradients = loss_and_gradients(net.train(), plan, GPU, torch.float32)
        found.append((loss, torch.cat([each.flatten() for each in gradients])))
    (exact, expected), (rounded, gradient) = found
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0)
    assert not torch.equal(rounded, exact)
    assert torch.cosine_similarity(gradient, expected, dim=0) > 0.99


def on_gpu(out: Path, *more: str) -> list[str]:
    return ["supernet.train", *settings(), "--device", "cuda", "--out", str(out), *LEARNING, *more]


@pytest.fixture(scope="module")
def trained(place: Path) -> Run:
    """A run that was trained on the GPU without a break."""
    folder = place / "runs" / "gpu"
    run(*on_gpu(folder), cwd=place, fresh=True)
    return Run(folder)


def rates(out: Run) -> dict[str, float]:
    return {size: row["test"]["cer"] for size, row in out.results()["sizes"].items()}


def test_a_training_that_was_killed_ends_as_one_that_was_not(trained: Run, place: Path) -> None:
    folder = place / "runs" / "killed"
    stop_at(12, on_gpu(folder), folder, place, signal.SIGKILL, fresh=True)
    run(*on_gpu(folder), cwd=place, fresh=True)
    assert rates(Run(folder)).keys() == rates(trained).keys()
    first, second = (load_file(each / "model.safetensors") for each in (trained.folder, folder))
    for name in first:
        # Sums on a GPU have no fixed order.
        torch.testing.assert_close(second[name], first[name], rtol=1e-3, atol=1e-3, msg=name)


def test_texts_are_those_of_a_cpu(trained: Run, place: Path) -> None:
    for size in rates(trained):
        found = []
        for device in ("cpu", "cuda"):
            run(
                "supernet.evaluate",
                trained.folder,
                "--sizes",
                size,
                "--device",
                device,
                cwd=place,
                fresh=True,
            )
            found.append({id: hypothesis for id, _, hypothesis in trained.transcripts(f"test-{size}")})
        differing = [id for id in found[0] if found[0][id] != found[1][id]]
        assert len(differing) <= 1, differing  # TensorFloat32 may decide a tie differently


@pytest.mark.parametrize(
    "arguments",
    [
        ("supernet.transcribe", "RUN", "tones", "--device", "cuda"),
        ("supernet.latency", "RUN", "--device", "cuda", "--rounds", "1"),
        ("selection", "RUN", "--device", "cuda", "--strategies", "greedy,similarity,gradient,simple-top-k"),
    ],
)
def test_commands_end_well(arguments: tuple[str, ...], trained: Run, place: Path) -> None:
    out, _ = run(*(word.replace("RUN", str(trained.folder)) for word in arguments), cwd=place, fresh=True)
    assert out
