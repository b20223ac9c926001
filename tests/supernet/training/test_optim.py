"""The optimizer, its groups, and the learning-rate schedule."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from supernet.config import TrainConfig
from supernet.network.supernet_ctc import SupernetCTC
from supernet.training.learning_rate import PiecewiseLinearLR, piecewise_linear
from supernet.training.optim import SkippingAdamW, parameter_groups
from tests.supernet.tiny import NUM_TOKENS, tiny_config

CONFIG = TrainConfig(lr=1e-2, weight_decay=0.1, scores_lr=0.5, num_steps=100)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def counters() -> tuple[Tensor, Tensor]:
    return torch.tensor(0), torch.tensor(0)


def set_gradients(module: nn.Module, step: int, bad: float | None = None) -> None:
    rng = torch.Generator().manual_seed(step)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=rng)
    if bad is not None:
        next(module.parameters()).grad.view(-1)[3] = bad  # type: ignore[union-attr]


def moments(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [t.clone() for state in optimizer.state.values() for t in state.values()]


def test_finite_updates_equal_those_of_pytorch() -> None:
    ours, theirs = net(), net()
    optimizer = SkippingAdamW(parameter_groups(ours, CONFIG), CONFIG, *counters())
    decayed = [p for p in theirs.parameters() if p.ndim > 1]
    plain = [p for p in theirs.parameters() if p.ndim == 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": 0.1},
        {"params": plain, "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, lr=CONFIG.lr, betas=CONFIG.betas, eps=CONFIG.eps, foreach=False)
    for step in range(8):
        for module, optim in ((ours, optimizer), (theirs, reference)):
            set_gradients(module, step)
            optim.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("first", [True, False])
def test_a_non_finite_gradient_changes_nothing(bad: float, first: bool) -> None:
    module, (skipped, in_a_row) = net(), counters()
    optimizer = SkippingAdamW(parameter_groups(module, CONFIG), CONFIG, skipped, in_a_row)
    if not first:
        set_gradients(module, 0)
        optimizer.step()
    weights, state = copy.deepcopy(module.state_dict()), moments(optimizer)
    for _ in range(2):
        set_gradients(module, 1, bad)
        optimizer.step()
    assert all(torch.equal(weights[name], value) for name, value in module.state_dict().items())
    if not first:
        assert all(torch.equal(a, b) for a, b in zip(state, moments(optimizer), strict=True))
    assert (int(skipped), int(in_a_row)) == (2, 2)


def test_a_skipped_update_has_no_effect_on_later_ones() -> None:
    interrupted, undisturbed = net(), net()
    skipped, in_a_row = counters()
    a = SkippingAdamW(parameter_groups(interrupted, CONFIG), CONFIG, skipped, in_a_row)
    b = SkippingAdamW(parameter_groups(undisturbed, CONFIG), CONFIG, *counters())
    set_gradients(interrupted, 9, float("nan"))
    a.step()
    for step in range(4):
        for module, optimizer in ((interrupted, a), (undisturbed, b)):
            set_gradients(module, step)
            optimizer.step()
    assert all(
        torch.equal(x, y) for x, y in zip(interrupted.parameters(), undisturbed.parameters(), strict=True)
    )
    assert (int(skipped), int(in_a_row)) == (1, 0)


def test_scores_have_their_own_rate_and_scores_and_vectors_do_not_decay() -> None:
    model = SupernetCTC(tiny_config(), NUM_TOKENS)
    matrices, vectors, scores = parameter_groups(model, CONFIG)
    assert [p is model.scorer.scores for p in scores["params"]] == [True]
    assert (scores["lr"], scores["weight_decay"]) == (0.5, 0.0)
    assert vectors["weight_decay"] == 0.0
    assert matrices["weight_decay"] == 0.1
    assert {p.ndim for p in vectors["params"]} == {1}
    assert min(p.ndim for p in matrices["params"]) == 2
    everything = [id(p) for group in (matrices, vectors, scores) for p in group["params"]]
    assert sorted(everything) == sorted(id(p) for p in model.parameters())


@given(st.floats(-1, 2))
def test_the_factor_is_linear_between_points_and_constant_beyond(share: float) -> None:
    points = ((0.0, 0.1), (0.5, 1.0), (1.0, 0.0))
    expected = 0.1 if share < 0 else 0.1 + 1.8 * share if share < 0.5 else max(0.0, 2 - 2 * share)
    assert piecewise_linear(points, share) == pytest.approx(expected)


def test_the_learning_rate_over_a_run() -> None:
    config = TrainConfig(
        num_steps=100, lr=2.0, scores_lr=0.5, schedule=((0, 0.0), (0.1, 1.0), (0.6, 0.5), (1, 0.0))
    )
    model = SupernetCTC(tiny_config(), NUM_TOKENS)
    optimizer = SkippingAdamW(parameter_groups(model, config), config, *counters())
    scheduler = PiecewiseLinearLR(optimizer, config)
    rates, scores = [], []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        scores.append(optimizer.param_groups[2]["lr"])
        optimizer.step()
        scheduler.step()
    expected = {1: 0.2, 5: 1.0, 10: 2.0, 35: 1.5, 60: 1.0, 80: 0.5, 100: 0.0}  # the n-th update's
    assert {n: rates[n - 1] for n in expected} == pytest.approx(expected)
    assert {n: scores[n - 1] for n in expected} == pytest.approx(
        {n: rate / 4 for n, rate in expected.items()}
    )
