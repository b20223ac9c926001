"""Gradients are divided and clipped as the engine does, bit for bit, in fewer operations."""

from __future__ import annotations

import pytest
import torch
from fairseq2.device import CPU
from fairseq2.gang import FakeGang
from fairseq2.nn.data_parallel import get_data_parallel_facade
from fairseq2.nn.utils.grad import clip_grad_norm, normalize_grads
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from supernet.config import TrainConfig
from supernet.engine.gradients import Gradients
from supernet.training.optim import SkippingAdamW, parameter_groups


def net() -> nn.Module:
    """Layers with gradients, except for the last one."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3), nn.Linear(3, 3))
    for parameter in layers[:2].parameters():
        parameter.grad = torch.randn_like(parameter) * 100
    return layers


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("frames", [[713], [1, 48, 7]])
@pytest.mark.parametrize("max_norm", [None, 0.01, 1e6])
@pytest.mark.parametrize("bad", [None, float("nan"), float("inf")])
def test_gradients_equal_the_engines(
    size: int, frames: list[int], max_norm: float | None, bad: float | None
) -> None:
    ours, theirs, ranks = net(), net(), FakeGang(CPU, rank=0, size=size)
    for each in (ours, theirs):
        if bad is not None:
            next(each.parameters()).grad[1, 2] = bad  # type: ignore[index]
    gradients = Gradients(ours, ranks)
    for number in frames:
        gradients.count(number)
    found = get_data_parallel_facade(ours).clip_grad_norm(max_norm)
    normalize_grads(theirs, ranks, sum(frames))
    expected = clip_grad_norm(theirs, max_norm)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(gradients.norm(), expected, rtol=0, atol=0, equal_nan=True)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=0, equal_nan=True)


def test_frames_are_counted_anew_in_every_step() -> None:
    module = nn.Linear(2, 2)
    gradients = Gradients(module, FakeGang(CPU))
    for frames in (4, 2):
        for parameter in module.parameters():
            parameter.grad = torch.ones_like(parameter)
        gradients.count(frames)
        gradients.clip_grad_norm(None)
        assert all(p.grad is not None and bool(p.grad.eq(1 / frames).all()) for p in module.parameters())


@pytest.mark.parametrize("bad", [False, True])
def test_the_optimizer_makes_the_same_update_with_and_without_a_given_norm(bad: bool) -> None:
    results, config = [], TrainConfig(lr=1e-2)
    for knows in (False, True):
        module, skipped, in_a_row = net(), torch.tensor(0), torch.tensor(0)
        gradients = Gradients(module, FakeGang(CPU))
        norm = gradients.norm if knows else None
        groups = parameter_groups(module, config)
        optimizer = SkippingAdamW(groups, config, skipped, in_a_row, norm=norm)
        if bad:
            next(module.parameters()).grad[0, 0] = float("inf")  # type: ignore[index]
        gradients.count(10)
        gradients.clip_grad_norm(1.0)
        optimizer.step()
        results.append([*module.state_dict().values(), skipped, in_a_row])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert int(results[0][-1]) == bad


class Counted(TorchDispatchMode):
    """Counts operations on tensors."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_the_number_of_operations_does_not_grow_with_that_of_the_tensors() -> None:
    counts = []
    for depth in (2, 20):
        module = nn.Sequential(*(nn.Linear(3, 3) for _ in range(depth)))
        for parameter in module.parameters():
            parameter.grad = torch.ones_like(parameter)
        gradients = Gradients(module, FakeGang(CPU))
        gradients.count(7)
        with Counted() as counted:
            gradients.clip_grad_norm(1.0)
        counts.append(counted.count)
    assert counts[0] == counts[1]


def test_a_step_without_gradients_has_a_norm_of_zero() -> None:
    module = nn.Linear(2, 2)
    gradients = Gradients(module, FakeGang(CPU))
    assert float(gradients.clip_grad_norm(1.0)) == 0
