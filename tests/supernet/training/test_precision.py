"""A training in bfloat16 rounds the operands of products and convolutions, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from supernet.config import Config
from supernet.network.supernet_ctc import SupernetCTC
from supernet.plan import Pass, Plan
from supernet.runs.former import updated
from supernet.runs.resolve import resolve
from supernet.runs.run import as_data, differences
from supernet.system.devices import training_dtype, usual_precision
from supernet.training.step import step_of
from tests.supernet import tiny
from tests.supernet.tiny import recognizer, tiny_config
from tests.supernet.training.test_laws_of_steps import top_k

FRAMES = [60, 33, 5, 47]
CPU = torch.device("cpu")
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "convolution", "mkldnn_rnn_layer"}
PRECISE = {"_log_softmax", "_ctc_loss", "sigmoid", "lerp", "topk"}


def net(precision: str, granularity: str = "layer") -> SupernetCTC:
    config = tiny_config(granularity, train={"precision": precision}, model={"dropout": 0.0})
    return recognizer(config).float().train()


def plan(net: SupernetCTC) -> Plan:
    """A pass with gates beside one without."""
    full = net.table.full
    return Plan((Pass("4", full), Pass("4", full, gate=lambda context: top_k(context, 2))))


def loss_of(net: SupernetCTC) -> Tensor:
    loss: Tensor = net(tiny.batch(FRAMES, dtype=torch.float32), step_of(plan(net), len(FRAMES))).total
    return loss


class Seen(TorchDispatchMode):
    """Notes the floating-point types of the tensors that each operation reads."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.types: dict[str, set[torch.dtype]] = defaultdict(set)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        read = (x for x in args if isinstance(x, Tensor) and x.is_floating_point())
        self.types[func.overloadpacket.__name__] |= {x.dtype for x in read}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("granularity", ["layer", "module", "component"])
def test_products_are_rounded_and_losses_and_gates_are_not(granularity: str) -> None:
    model = net("bfloat16", granularity)
    with Seen() as seen:
        loss = loss_of(model)
    found = {name: kinds for name, kinds in seen.types.items() if name in PRODUCTS}
    assert {"addmm", "bmm", "convolution"} <= set(found)
    assert all(kinds == {torch.bfloat16} for kinds in found.values()), found
    precise = {name: kinds for name, kinds in seen.types.items() if name in PRECISE}
    assert {"_log_softmax", "_ctc_loss"} <= set(precise)
    assert all(kinds == {torch.float32} for kinds in precise.values()), precise
    assert loss.dtype == torch.float32


def test_attention_weights_are_computed_in_single_precision_and_rounded_once() -> None:
    scores = (torch.randn(50, 300, generator=torch.Generator().manual_seed(0)) * 5).bfloat16()
    weights = torch.softmax(scores, -1)
    assert torch.equal(weights, torch.softmax(scores.float(), -1).bfloat16())
    grad = torch.ones_like(weights) + scores
    found = torch._softmax_backward_data(grad, weights, -1, torch.bfloat16)
    exact = torch._softmax_backward_data(grad.float(), weights.float(), -1, torch.float32)
    torch.testing.assert_close(found.float(), exact, rtol=2**-8, atol=1e-5)


def test_gradients_are_in_full_precision_and_close_to_the_exact_ones() -> None:
    exact, rounded = net("float32"), net("bfloat16")
    losses = [loss_of(each) for each in (exact, rounded)]
    for loss in losses:
        loss.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(losses[1], losses[0], rtol=0.02, atol=0)
    assert not torch.equal(losses[1], losses[0])
    pairs = list(zip(exact.parameters(), rounded.parameters(), strict=True))
    assert {p.grad.dtype for _, p in pairs if p.grad is not None} == {torch.float32}
    a, b = (torch.cat([p[i].grad.flatten() for p in pairs if p[i].grad is not None]) for i in (0, 1))  # type: ignore[union-attr]
    assert torch.cosine_similarity(a, b, dim=0) > 0.99


def test_a_cpu_computes_in_float32_if_asked_for_float16() -> None:
    losses = [loss_of(net(name)) for name in ("float32", "float16")]
    assert torch.equal(*losses)
    assert training_dtype("bfloat16", CPU) == torch.bfloat16


def test_auto_is_float32_on_a_cpu() -> None:
    assert usual_precision(CPU) == "float32"
    assert training_dtype("auto", CPU) == torch.float32
    assert configured("auto").train.precision == "auto"
    assert resolve([{"device": "cpu"}]).with_precision().config.train.precision == "float32"


def test_scoring_is_in_float32() -> None:
    exact, rounded = (net(name).eval() for name in ("float32", "bfloat16"))
    data = tiny.batch(FRAMES, dtype=torch.float32)
    with torch.inference_mode():
        for a, b in zip(*(each.score_all(data, [each.table.full]) for each in (exact, rounded)), strict=True):
            assert torch.equal(a.emissions_BSE, b.emissions_BSE)
            assert torch.equal(a.losses_B, b.losses_B)


@pytest.mark.parametrize(
    ("before", "now", "changed"),
    [
        ("float32", "auto", []),
        ("bfloat16", "auto", []),
        ("auto", "auto", []),
        ("auto", "float32", []),
        ("float16", "float32", []),
        ("float32", "bfloat16", ["train.precision was float32, is bfloat16"]),
        ("bfloat16", "float32", ["train.precision was bfloat16, is float32"]),
        ("auto", "bfloat16", ["train.precision was auto, is bfloat16"]),
    ],
)
def test_a_run_continues_with_the_precision_that_it_began_with(
    before: str, now: str, changed: list[str]
) -> None:
    """Formerly, runs kept ``auto``, which was float32 on a CPU."""
    saved = as_data(configured(before))
    continued = resolve([{"device": "cpu", "train": {"precision": now}}], saved).with_precision(saved).config
    assert differences(updated(saved, continued), as_data(continued), leave=["device"]) == changed
    if now == "auto":
        assert continued.train.precision == ("float32" if before == "auto" else before)


def configured(precision: str) -> Config:
    return resolve([{"device": "cpu", "train": {"precision": precision}}]).config
