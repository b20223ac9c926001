"""Activations that are computed again give the same losses and gradients, and need less memory."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from supernet.network.outputs import StepLoss
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.tensor_names import is_scorer
from supernet.plan import Draw, Learning, Plan
from supernet.training.step import step_of
from tests.supernet import tiny
from tests.supernet.tiny import recognizer, tiny_config
from tests.supernet.training.test_laws_of_steps import plans

FRAMES = [60, 33, 5, 47, 52, 60, 41]
DROPOUT = {"ffn_dropout": 0.2}  # beside the dropout of the branches


def step(net: SupernetCTC, plan: Plan, *, recompute: bool) -> tuple[StepLoss, dict[str, Tensor]]:
    """The loss of a step in training mode and its gradients, with the same random numbers every time."""
    net.encoder.recomputes = recompute
    data = tiny.batch(FRAMES)
    torch.manual_seed(3)
    loss: StepLoss = net.train()(data, step_of(plan, len(data), Draw(1, 2)))
    torch.rand(100)  # between the passes, random numbers are drawn for other purposes
    return loss, tiny.gradients(net, loss.total)


def nets() -> Iterator[SupernetCTC]:
    for granularity in ("layer", "module"):
        yield recognizer(tiny_config(granularity, model=DROPOUT))
    yield recognizer(tiny_config(model={**DROPOUT, "self_conditioning": True, "positions": "none"}))


@pytest.mark.parametrize("net", list(nets()), ids=["layers", "modules", "conditioned"])
def test_losses_and_gradients_are_the_same_with_dropout(net: SupernetCTC) -> None:
    for name, plan in plans(net).items():
        kept, expected = step(net, plan, recompute=False)
        computed, actual = step(net, plan, recompute=True)
        assert torch.equal(computed.total, kept.total), name
        for parameter, gradient in expected.items():
            assert torch.equal(actual[parameter], gradient), f"{name}: {parameter}"


@pytest.mark.parametrize("learning", ["scorer", "weights"])
@pytest.mark.parametrize("net", list(nets()), ids=["layers", "modules", "conditioned"])
def test_only_what_a_step_learns_gets_gradients_and_the_same(net: SupernetCTC, learning: Learning) -> None:
    for name, plan in plans(net).items():
        if learning == "scorer" and all(p.gate is None for p in plan.passes):
            continue
        kept, computed = (
            learned(net, replace(plan, learning=learning), recompute=recompute) for recompute in (False, True)
        )
        assert kept, name
        assert kept.keys() == computed.keys(), name
        assert {is_scorer(parameter) for parameter in kept} == {learning == "scorer"}
        for parameter, gradient in kept.items():
            assert torch.equal(computed[parameter], gradient), f"{name}: {parameter}"
        assert all(p.requires_grad for p in net.parameters())


def learned(net: SupernetCTC, plan: Plan, *, recompute: bool) -> dict[str, Tensor]:
    """The gradients of a step, of the parameters that get any."""
    net.encoder.recomputes, data = recompute, tiny.batch(FRAMES)
    torch.manual_seed(3)
    net.zero_grad()
    loss: StepLoss = net.train()(data, step_of(plan, len(data), Draw(1, 2)))
    loss.total.backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def saved_bytes(net: SupernetCTC, plan: Plan, *, recompute: bool) -> int:
    """The memory that the forward pass keeps for the backward pass, each storage once."""
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    net.encoder.recomputes = recompute
    data = tiny.batch(FRAMES)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net.train()(data, step_of(plan, len(data)))
    owned = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    return sum(x.untyped_storage().nbytes() for pointer, x in kept.items() if pointer not in owned)


@pytest.mark.parametrize("granularity", ["layer", "module"])
def test_less_memory_is_kept(granularity: str) -> None:
    net = recognizer(tiny_config(granularity))
    plan = plans(net)["every size on the batch"]
    assert saved_bytes(net, plan, recompute=True) < 0.5 * saved_bytes(net, plan, recompute=False)


def test_it_is_a_setting() -> None:
    assert SupernetCTC(tiny_config(train={"recompute": True}), 6).encoder.recomputes
    assert not SupernetCTC(tiny_config(), 6).encoder.recomputes


def test_a_network_can_be_copied_and_pickled() -> None:
    net, data = recognizer(tiny_config()), tiny.batch(FRAMES)
    expected = net.log_probs(data.features_BTF, data.num_frames, net.table.full)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(other.log_probs(data.features_BTF, data.num_frames, net.table.full), expected)
        assert type(other.encoder.layers["0"]) is type(net.encoder.layers["0"])
