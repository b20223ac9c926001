"""Scores are learned with frozen weights, and they distinguish a harmful unit from useful ones."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from selection.measuring.frozen import LEARNING, _learning, frozen, learn_scores
from supernet.budget import Budget
from supernet.method import Progress
from supernet.methods.iterative_zero_out import ZeroOut
from supernet.methods.simple_top_k import LearnTopK
from supernet.network.supernet_ctc import SupernetCTC
from supernet.plan import Draw, Pass, Plan
from supernet.task import Batch
from supernet.training.step import step_of
from tests.supernet.tiny import batch, recognizer, tiny_config

FRAMES = [60, 48, 52, 40]

STARTS = {"simple-top-k": 0.5, "iterative-zero-out": 10.0, "dais": 2.0}
"""The initial score, by method with one score for each unit."""

each_method = pytest.mark.parametrize("method", LEARNING)


def quiet(what: str, done: int, total: int) -> None:
    pass


def several() -> Iterator[Batch]:
    """An endless stream of batches that differ from step to step."""
    return itertools.cycle([batch(FRAMES, seed, torch.float32) for seed in range(3)])


def of_size(size: int, net: SupernetCTC) -> Budget:
    return Budget.of_size(size, len(net.table))


def drawn(granularity: str = "layer", **model: Any) -> SupernetCTC:
    return recognizer(tiny_config(granularity, model=model)).float()


@each_method
@pytest.mark.parametrize("granularity", ["layer", "module", "component"])
def test_every_unit_gets_a_finite_score(method: str, granularity: str) -> None:
    net = drawn(granularity)
    num_units = len(net.table)
    for size in {1, num_units // 2, num_units - 1}:
        scores = learn_scores(net, method, of_size(size, net), several(), 8, quiet)
        assert len(scores) == num_units
        assert all(math.isfinite(score) for score in scores)
        assert len(set(scores)) > 1, "scores must have been learned"


@each_method
@pytest.mark.parametrize("model", [{}, {"heads": "per-size"}, {"self_conditioning": True}], ids=str)
def test_the_network_is_unchanged(method: str, model: dict[str, Any]) -> None:
    net = drawn(**model).train()
    net.frontend.requires_grad_(False)
    wanting = {name for name, p in net.named_parameters() if p.requires_grad}
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    learn_scores(net, method, of_size(2, net), several(), 3, quiet)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert {name for name, p in net.named_parameters() if p.requires_grad} == wanting
    assert all(p.grad is None for p in net.parameters())
    assert net.training


@each_method
def test_learning_is_deterministic(method: str) -> None:
    net = drawn("module", dropout=0.3)
    state = torch.get_rng_state()
    first = learn_scores(net, method, of_size(2, net), several(), 6, quiet)
    assert torch.equal(torch.get_rng_state(), state), "no random numbers may be drawn, not even for dropout"
    assert learn_scores(net.train(), method, of_size(2, net), several(), 6, quiet) == first
    net.scorer.importance().data.fill_(3.0)
    assert learn_scores(net, method, of_size(2, net), several(), 6, quiet) == first, (
        "scores from training must be ignored"
    )
    assert learn_scores(net, method, of_size(2, net), several(), 6, quiet, lr=0.3) != first


@each_method
def test_each_step_takes_one_batch_and_reports_progress(method: str) -> None:
    told, data = list[tuple[int, int]](), several()
    taken = itertools.count()
    learn_scores(
        drawn(),
        method,
        Budget.of_size(2, 4),
        (next(data) for _ in taken),
        5,
        lambda _, done, of: told.append((done, of)),
    )
    assert told == [(i + 1, 5) for i in range(5)]
    assert next(taken) == 5


@pytest.mark.parametrize("method", STARTS)
@pytest.mark.parametrize("num_steps", [16, 64])
def test_the_change_of_scores_does_not_depend_on_the_number_of_updates(method: str, num_steps: int) -> None:
    scores = learn_scores(drawn(), method, Budget.of_size(2, 4), several(), num_steps, quiet)
    moved = max(abs(score - STARTS[method]) for score in scores)
    assert 0.15 * LEARNING[method].travel < moved < 1.1 * LEARNING[method].travel


def test_scores_are_learned_with_the_head_of_the_size() -> None:
    net = drawn(heads="per-size")
    expected = learn_scores(net, "simple-top-k", of_size(2, net), several(), 4, quiet)
    torch.nn.init.zeros_(net.heads["4"].weight)  # type: ignore[arg-type]
    assert learn_scores(net, "simple-top-k", of_size(2, net), several(), 4, quiet) == expected
    torch.nn.init.zeros_(net.heads["2"].weight)  # type: ignore[arg-type]
    assert learn_scores(net, "simple-top-k", of_size(2, net), several(), 4, quiet) != expected


@pytest.mark.parametrize(
    ("size", "num_steps", "lengths"),
    [(1, 200, [67, 66, 67]), (2, 200, [100, 100]), (2, 79, [79]), (3, 200, [200]), (1, 5, [5])],
)
def test_iterations_of_zero_out_are_not_too_short(size: int, num_steps: int, lengths: list[int]) -> None:
    phases = _learning(drawn(), "iterative-zero-out", Budget.of_size(size, 4), num_steps).phases()
    assert [phase.num_steps for phase in phases] == [*lengths, 0]
    last = phases[-2]
    assert isinstance(last, ZeroOut)
    assert last.out_after == 4 - size


@pytest.mark.parametrize("size", [1, 2, 3])
def test_k_decreases_to_the_size(size: int) -> None:
    learning, joint = _learning(drawn(), "simple-top-k", Budget.of_size(size, 4), 60).phases()
    assert isinstance(learning, LearnTopK)
    assert [learning.k(Progress(step, 60)) for step in (0, 59)] == [3, size]
    assert joint.num_steps == 0


def test_frozen_restores_the_network_even_after_an_error() -> None:
    net = drawn().train()
    net.heads.eval()
    with contextlib.suppress(KeyError), frozen(net):
        assert not any(p.requires_grad for p in net.parameters())
        assert not any(module.training for module in net.modules())
        raise KeyError
    assert all(p.requires_grad for p in net.parameters())
    assert net.training
    assert not net.heads.training


@each_method
def test_a_budget_must_drop_a_unit(method: str) -> None:
    with pytest.raises(ValueError, match="`budget` must be below 4 units, but is 4 instead"):
        learn_scores(drawn(), method, Budget.of_size(4, 4), several(), 2, quiet)


def test_other_methods_learn_no_scores() -> None:
    with pytest.raises(ValueError, match=r"`method` must be one of simple-top-k, .*, dais, but is"):
        learn_scores(drawn(), "on-demand", Budget.of_size(2, 4), several(), 2, quiet)


# Scores rank units by their effect

UTTERANCES = batch(FRAMES, dtype=torch.float32)


@pytest.fixture(scope="module", params=["layer", "module"])
def spoiled(request: pytest.FixtureRequest) -> tuple[SupernetCTC, int]:
    """A network in which one unit is harmful and all others are useful, and the position of the former."""
    net = drawn(request.param, dropout=0.0).train()
    harmful = net.table.position["layers.1" if request.param == "layer" else "layers.1.conv"]
    drop = tuple(0.5 * (unit == harmful) for unit in range(len(net.table)))
    plan = Plan((Pass(str(len(net.table)), net.table.full, drop=drop),))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for number in range(200):
        optimizer.zero_grad()
        loss = net(UTTERANCES, step_of(plan, len(UTTERANCES), Draw(step=number)))
        (loss.total / loss.num_frames).backward()
        optimizer.step()
    spoil(net)
    return net.eval(), harmful


@torch.no_grad()
def spoil(net: SupernetCTC) -> None:
    """Invert the second layer, or randomize its convolution module."""
    layer = net.encoder.layers["1"]
    if net.table.granularity == "layer":
        layer.layer_norm.weight.neg_()  # type: ignore[union-attr,operator]
    else:
        torch.nn.init.normal_(layer.conv.pointwise_conv2.weight, generator=torch.Generator().manual_seed(0))  # type: ignore[union-attr,arg-type]


@torch.no_grad()
def loss_without(net: SupernetCTC) -> list[float]:
    """The loss of the network without each unit."""
    others = [tuple(i != unit for i in range(len(net.table))) for unit in range(len(net.table))]
    found = {scored.kept: float(scored.losses_B.sum()) for scored in net.score_all(UTTERANCES, others)}
    return [found[kept] for kept in others]


@each_method
def test_a_harmful_unit_gets_the_lowest_score(method: str, spoiled: tuple[SupernetCTC, int]) -> None:
    net, harmful = spoiled
    losses, num_units = loss_without(net), len(net.table)
    assert sorted(losses)[1] > 1.1 * losses[harmful], "the loss must be lowest without the harmful unit"
    scores = learn_scores(net, method, of_size(num_units - 1, net), itertools.repeat(UTTERANCES), 60, quiet)
    assert min(scores) == scores[harmful]
