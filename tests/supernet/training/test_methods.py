"""The scores, gates and plans of each method: published values, hand-computed values, and properties."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from supernet.config import Config
from supernet.method import Method, Progress
from supernet.methods.auto_train_once import AutoTrainOnce
from supernet.methods.dais import DAIS
from supernet.methods.fixed import Fixed
from supernet.methods.individual import Individual
from supernet.methods.iterative_zero_out import ZEROED, IterativeZeroOut, ZeroOut, sparsity_penalty, zero_out
from supernet.methods.on_demand import OnDemand
from supernet.methods.ortho_softmax import OrthoSoftmax
from supernet.methods.simple_top_k import LearnTopK, SimpleTopK, hard_top_k, relaxed_top_k
from supernet.network.supernet_ctc import SupernetCTC
from supernet.training.schedule import Schedule
from supernet.training.step import supernet_of
from supernet.units import Kept
from tests.supernet.tiny import NUM_TOKENS, context, tiny_config

METHODS: dict[str, type[Method[Any]]] = {
    "simple-top-k": SimpleTopK,
    "iterative-zero-out": IterativeZeroOut,
    "on-demand": OnDemand,
    "individual": Individual,
    "ortho-softmax": OrthoSoftmax,
    "auto-train-once": AutoTrainOnce,
    "dais": DAIS,
    "fixed": Fixed,
}
scores = st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=24)


def make(name: str, config: Config, **options: object) -> Method[Any]:
    kls = METHODS[name]
    return kls(kls.Options.model_validate(options), config)


def schedule(name: str, config: Config, **options: object) -> tuple[Schedule, SupernetCTC]:
    method = make(name, config, **options)
    net = supernet_of(method, NUM_TOKENS)
    return Schedule(method, net, config.seed), net


# Simple-Top-k


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=12, unique=True), st.data())
def test_hard_gates_are_0_or_1_with_the_gradient_of_the_relaxed_gates(
    scores: list[float], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(scores)))
    hard_U, relaxed_U = (torch.tensor(scores, dtype=torch.float64, requires_grad=True) for _ in range(2))
    gates_U, weights_U = hard_top_k(hard_U, k), torch.arange(1.0, len(scores) + 1, dtype=torch.float64)
    torch.testing.assert_close(gates_U.detach().round(), gates_U.detach(), atol=1e-12, rtol=0)
    assert int(gates_U.detach().round().sum()) == k
    (gates_U * weights_U).sum().backward()  # type: ignore[no-untyped-call]
    (relaxed_top_k(relaxed_U, k) * weights_U).sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(hard_U.grad, relaxed_U.grad)


def test_relaxed_top_k_equals_the_reference_implementation() -> None:
    s = [0.33067608, 0.13346206, 0.03083863, 0.31065866, -0.22595298, -0.08306511, -0.76138425, 0.19084196,
         -0.51380432, -0.28152639, -0.44614527, -0.02912509]  # fmt: skip
    expected = [0.68432921, 0.59075880, 0.54575568, 0.67441362, 0.44428295, 0.49879062, 0.28111899,
                0.61702907, 0.34886935, 0.42438802, 0.36962333, 0.52064025]  # fmt: skip
    torch.testing.assert_close(relaxed_top_k(torch.tensor(s), 6), torch.tensor(expected), atol=1e-6, rtol=0)


@given(st.integers(1, 48), st.data())
def test_equal_scores_have_equal_gates_that_sum_to_k(num_units: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, num_units))
    gates = relaxed_top_k(torch.full((num_units,), 0.5), k)
    torch.testing.assert_close(gates, torch.full((num_units,), k / num_units), atol=1e-5, rtol=0)


@given(scores, st.data())
def test_gates_sum_to_k_and_follow_the_scores(values: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(0, len(values)))
    s = torch.tensor(values, dtype=torch.float64)
    gates = relaxed_top_k(s, k)
    assert float(gates.sum()) == pytest.approx(k, abs=1e-9)
    assert bool((gates >= 0).all())
    order = torch.argsort(s)
    assert bool((gates[order].diff() >= -1e-9).all()), "gates are monotonic in the scores"


@pytest.mark.parametrize(
    ("granularity", "sizes", "reduce_by", "ladder"),
    [
        ("layer", (2, 4), None, [3, 2]),
        ("layer", (1, 4), 2, [2, 1]),
        ("layer", (1, 4), 9, [1]),
        ("layer", (4,), None, [4]),
        ("module", (5, 16), None, [12, 8, 5]),
        ("module", (8, 16), 3, [13, 10, 8]),
    ],
)
def test_k_falls_to_the_smallest_size(
    granularity: str, sizes: tuple[int, ...], reduce_by: int | None, ladder: list[int]
) -> None:
    config = tiny_config(granularity, sizes=sizes, train={"num_steps": 60})
    phase = make("simple-top-k", config, score_learning=0.5, reduce_by=reduce_by).phases()[0]
    assert isinstance(phase, LearnTopK)
    ks = [phase.k(Progress(step, phase.num_steps)) for step in range(phase.num_steps)]
    assert list(dict.fromkeys(ks)) == ladder
    assert ks == sorted(ks, reverse=True)
    assert {ks.count(k) for k in ladder} <= {len(ks) // len(ladder), -(-len(ks) // len(ladder))}


def test_score_learning_runs_the_full_network_plain_and_gated() -> None:
    config = tiny_config(
        train={"num_steps": 8}, passes={"sharing": "rows", "gated_share": 0.25, "small_weight": 0.3}
    )
    steps, net = schedule("simple-top-k", config, score_learning=0.5)
    plain, gated = steps.plan(0).passes
    assert (plain.share, gated.share, plain.weight, gated.weight) == (0.75, 0.25, 1.0, 0.3)
    assert plain.kept == gated.kept == net.table.full
    assert gated.gate is not None
    assert plain.gate is None
    assert float(gated.gate(net.context).detach().sum()) == pytest.approx(3)


# Iterative-Zero-Out


@given(st.lists(st.floats(ZEROED, 20, width=32), min_size=1, max_size=24), st.data())
def test_zero_out_closes_the_lowest_scores_and_is_idempotent(
    values: list[float], data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, len(values)))
    s = torch.tensor(values)
    zero_out(s, count)
    once = s.clone()
    assert sorted(once.tolist()) == [ZEROED] * count + sorted(values)[count:]
    zero_out(s, count)
    assert torch.equal(s, once)


def test_among_equal_scores_later_units_are_closed() -> None:
    s = torch.tensor([1.0, 1.0, 3.0, 1.0])
    zero_out(s, 2)
    assert s.tolist() == [1.0, ZEROED, 3.0, ZEROED]


def test_a_closed_unit_can_reopen() -> None:
    s = torch.nn.Parameter(torch.tensor([2.0, -1.0, 1.0]))
    with torch.no_grad():
        zero_out(s, 1)
    optimizer = torch.optim.AdamW([s], lr=4.0, weight_decay=0)
    for _ in range(3):
        optimizer.zero_grad()
        (torch.sigmoid(s)[1] - 1).square().backward()  # type: ignore[no-untyped-call]
        assert s.grad is not None
        assert s.grad[1].item() != 0
        optimizer.step()
    assert s.argmax().item() == 1


def test_the_sparsity_penalty_equals_a_hand_computed_one() -> None:
    s = context([0.0, 0.0, 100.0, -100.0])  # gates 1/2, 1/2, 1, 0: half are closed
    assert float(sparsity_penalty(s, out=1, weight=5.0)["sparsity"]) == pytest.approx(5 * 0.25)
    assert float(sparsity_penalty(s, out=2, weight=5.0)["sparsity"]) == pytest.approx(0)
    assert float(sparsity_penalty(s, out=4, weight=2.0)["sparsity"]) == pytest.approx(1.0)


def test_iterations_close_more_and_more_units_and_the_first_can_be_longest() -> None:
    config = tiny_config("module", sizes=(4, 16), train={"num_steps": 200})
    *iterations, smallest, joint = make(
        "iterative-zero-out", config, score_learning=0.6, iterations=4, first_share=0.4
    ).phases()
    assert [(p.out_before, p.out_after) for p in iterations if isinstance(p, ZeroOut)] == [
        (0, 3),
        (3, 6),
        (6, 9),
        (9, 12),
    ]
    assert [p.num_steps for p in iterations] == [48, 24, 24, 24]
    assert (smallest.name, joint.name) == ("smallest size", "joint")
    assert (smallest.num_steps, joint.num_steps) == (60, 20)


@pytest.mark.parametrize(
    ("num_steps", "lengths"), [(20, [10]), (200, [50, 50]), (400, [67, 66, 67]), (4000, [667, 666, 667])]
)
def test_there_is_one_iteration_per_closed_layer_unless_they_would_be_too_short(
    num_steps: int, lengths: list[int]
) -> None:
    config = tiny_config(sizes=(1, 4), train={"num_steps": num_steps})
    phases = make("iterative-zero-out", config).phases()
    assert [phase.num_steps for phase in phases if isinstance(phase, ZeroOut)] == lengths


def test_units_are_closed_when_the_next_iteration_begins() -> None:
    config = tiny_config(sizes=(2, 4), train={"num_steps": 12})
    steps, net = schedule("iterative-zero-out", config, score_learning=0.5, iterations=2)
    assert [name for name, _ in steps.boundaries()] == ["zero-out", "zero-out", "smallest size", "joint"]
    with torch.no_grad():
        net.scorer.importance().copy_(torch.tensor([3.0, 9.0, 1.0, 5.0]))
    steps.begin(0)
    assert net.scorer.importance().tolist() == [3.0, 9.0, 1.0, 5.0]
    for _ in range(2):  # a step with overflow is repeated
        steps.begin(3)
        assert net.scorer.importance().tolist() == [3.0, 9.0, ZEROED, 5.0]
    steps.begin(6)
    assert steps.subnets() == {"2": (False, True, False, True), "4": (True,) * 4}


# On demand, individual


@pytest.mark.parametrize(("granularity", "per_layer"), [("layer", 1), ("module", 4)])
def test_drop_probabilities_grow_linearly_with_depth(granularity: str, per_layer: int) -> None:
    config = tiny_config(granularity)
    steps, _ = schedule("on-demand", config, max_drop=0.4)
    (only,) = steps.plan(0).passes
    assert only.drop == pytest.approx([p for p in (0.1, 0.2, 0.3, 0.4) for _ in range(per_layer)])
    assert steps.subnets()[config.names[0]] == tuple(i < config.sizes[0] for i in range(4 * per_layer))


@pytest.mark.parametrize(
    ("names", "kept"),
    [(("layers.0", "layers.3"), (True, False, False, True)), (None, (True, True, False, False))],
)
def test_individual_trains_one_subnet_alone(names: tuple[str, ...] | None, kept: Kept) -> None:
    config = tiny_config(sizes=(2,))
    method = make("individual", config, kept=names)
    steps = Schedule(method, SupernetCTC(config, NUM_TOKENS), 0)
    assert method.problems() == []
    steps.begin(0)
    (only,) = steps.plan(0).passes
    assert (only.kept, only.share, only.drop, only.gate) == (kept, None, None, None)


@pytest.mark.parametrize(
    ("kept", "word"),
    [
        (["layers.0"], "must name 2 units"),
        (["layers.0", "layers.9"], "layers.9"),
    ],
)
def test_individual_rejects_units_that_do_not_fit(kept: list[str], word: str) -> None:
    (problem,) = make("individual", tiny_config(sizes=(2,)), kept=kept).problems()
    assert word in problem
