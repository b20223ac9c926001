"""Joint training, and properties of the phases of every method."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from supernet.budget import Budget
from supernet.method import Moment, Phase, Progress
from supernet.methods.simple_top_k import SimpleTopK
from supernet.network.supernet_ctc import SupernetCTC
from supernet.plan import Plan
from supernet.training.phases import Joint, default_shares, joint_training
from supernet.training.schedule import Schedule
from supernet.units import Kept
from tests.supernet.tiny import NUM_TOKENS, context, tiny_config, units_of
from tests.supernet.training.test_methods import METHODS, make, schedule


def joint_plan(sizes: tuple[int, ...], seed: int = 0, **passes: object) -> tuple[Plan, dict[str, Kept]]:
    config = tiny_config("module", sizes=sizes, passes=passes)
    table = SimpleTopK(SimpleTopK.Options(), config).table
    subnets = {str(size): table.top([float(i * 7 % 16) for i in range(16)], size) for size in sizes}
    return Joint(5, config).plan(Moment(Progress(0, 5), table, subnets, random.Random(seed))), subnets


@pytest.mark.parametrize("sizes", [(8, 16), (4, 8, 16), (2, 4, 8, 12, 16)])
def test_with_one_size_per_utterance_each_size_trains_on_its_share(sizes: tuple[int, ...]) -> None:
    plan, subnets = joint_plan(sizes, sharing="rows", layer_drop=0.2)
    assert [p.budget for p in plan.passes] == [str(size) for size in sorted(sizes, reverse=True)]
    assert [p.kept for p in plan.passes] == [subnets[p.budget] for p in plan.passes]
    assert sum(p.share or 0.0 for p in plan.passes) == pytest.approx(1)


@pytest.mark.parametrize(
    ("sizes", "shares"),
    [
        ((6,), [1]),
        ((6, 12), [2 / 3, 1 / 3]),
        ((9, 6, 12), [0.1, 0.6, 0.3]),
        ((3, 6, 9, 12), [0.6, 0.05, 0.05, 0.3]),
    ],
)
def test_the_smallest_size_gets_most_rows_and_the_largest_most_of_the_rest(
    sizes: tuple[int, ...], shares: list[float]
) -> None:
    names = [str(size) for size in sorted(sizes, reverse=True)]
    expected = {str(size): share for size, share in zip(sizes, shares, strict=True)}
    assert default_shares(names) == pytest.approx(expected)


def test_shares_can_be_given() -> None:
    plan, _ = joint_plan((8, 16), sharing="rows", shares={8: 0.8, 16: 0.2})
    assert {p.budget: p.share for p in plan.passes} == {"16": 0.2, "8": 0.8}


@pytest.mark.parametrize(
    ("sizes", "share", "expected"),
    [
        ((2, 4), 0.6, [("smallest size", 6), ("joint", 4)]),
        ((2, 4), 0.0, [("joint", 10)]),
        ((2, 4), 1.0, [("smallest size", 10), ("joint", 0)]),
        ((4,), 0.6, [("joint", 10)]),
    ],
)
def test_the_smallest_size_trains_first(
    sizes: tuple[int, ...], share: float, expected: list[tuple[str, int]]
) -> None:
    phases = joint_training(10, tiny_config(sizes=sizes, passes={"smallest_first": share}))
    assert [(phase.name, phase.num_steps) for phase in phases] == expected


def test_stages_generalize_the_smallest_size_first() -> None:
    """Naming only the smallest size is the same as `smallest_first`; further ones train with those below."""
    one = joint_training(10, tiny_config(sizes=(1, 2, 4), passes={"stages": {1: 0.6}}))
    assert [(phase.name, phase.num_steps) for phase in one] == [("smallest size", 6), ("joint", 4)]
    shares = {"1": 0.5, "2": 0.3, "4": 0.2}
    config = tiny_config(sizes=(1, 2, 4), passes={"stages": {1: 0.5, 2: 0.3}, "shares": shares})
    first, growing, joint = joint_training(10, config)
    assert [first.num_steps, growing.num_steps, joint.num_steps] == [5, 3, 2]
    subnets = {"1": (True, False, False, False), "2": (True, True, False, False), "4": (True,) * 4}
    moment = Moment(Progress(0, 3), units_of(4, "layer"), subnets, random.Random(0))
    assert {p.budget: p.share for p in growing.plan(moment).passes} == pytest.approx({"2": 0.375, "1": 0.625})
    assert [(p.budget, p.share) for p in joint.plan(moment).passes] == [("4", 0.2), ("2", 0.3), ("1", 0.5)]


@pytest.mark.parametrize("new_units", ["keep", "copy"])
def test_units_that_join_copy_the_nearest_trained_one_once(new_units: str) -> None:
    config = tiny_config(sizes=(2, 3, 4), passes={"stages": {2: 0.5, 3: 0.25}, "new_units": new_units})
    net = SupernetCTC(config, NUM_TOKENS)
    subnets = {"2": (True, False, False, True), "3": (True, True, False, True), "4": (True,) * 4}
    _, growing, joint = joint_training(8, config)
    before = {name: [x.clone() for x in values] for name, values in net.context.weights.items()}
    for phase in (growing, joint):
        for step in (1, 0, 0):  # only the first step copies, also if it is repeated
            moment = Moment(Progress(step, 2), net.table, subnets, random.Random(0))
            with torch.no_grad():
                phase.begin(moment, net.context)
            if step:
                assert_same(net.context.weights, before)
        # layers.1 joins first; then it and layers.3 are the nearest of layers.2, and the earlier one counts.
        copies = {"layers.1": "layers.0"} if phase is growing else {"layers.2": "layers.0"}
        if new_units == "copy":
            before |= {name: before[source] for name, source in copies.items()}
        assert_same(net.context.weights, before)


def assert_same(found: Mapping[str, Sequence[Tensor]], expected: Mapping[str, Sequence[Tensor]]) -> None:
    for name, values in expected.items():
        for x, y in zip(found[name], values, strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=0)


@pytest.mark.parametrize("sharing", ["rows", "batch"])
def test_the_smallest_size_trains_alone_on_the_whole_batch(sharing: str) -> None:
    config = tiny_config(sizes=(1, 2, 4), passes={"sharing": sharing, "smallest_first": 0.5})
    subnets = {"1": (False, True, False, False), "2": (False, True, True, False), "4": (True,) * 4}
    moment = Moment(Progress(0, 2), units_of(4, "layer"), subnets, random.Random(0))
    (only,) = joint_training(4, config)[0].plan(moment).passes
    assert (only.budget, only.kept, only.share, only.gate, only.drop) == ("1", subnets["1"], None, None, None)


def test_subnets_are_chosen_once_before_the_smallest_trains() -> None:
    """Choosing again would discard what the smallest size has learned; a resumed run keeps the choice."""
    config = tiny_config(train={"num_steps": 20}, passes={"smallest_first": 0.5})
    steps, net = schedule("simple-top-k", config, score_learning=0.2)
    assert steps.boundaries() == [("score learning", 0), ("smallest size", 4), ("joint", 12)]
    for step, scores in ((4, [1.0, 4.0, 2.0, 3.0]), (12, [9.0, 0.0, 9.0, 0.0])):
        with torch.no_grad():
            net.scorer.importance().copy_(torch.tensor(scores))
        steps.begin(step)
        assert steps.subnets()["2"] == (False, True, False, True)
        resumed = Schedule(make("simple-top-k", config, score_learning=0.2), net, config.seed)
        resumed.begin(step + 1)
        assert resumed.subnets() == steps.subnets()
        assert described(resumed.plan(step + 1)) == described(steps.plan(step + 1))


def test_the_sandwich_rule_runs_the_largest_the_smallest_and_one_size_between() -> None:
    sizes = (2, 4, 8, 12, 16)
    middles = set()
    for seed in range(40):
        plan, _ = joint_plan(sizes, seed, sharing="batch", small_weight=0.3)
        first, middle, last = plan.passes
        assert (first.budget, last.budget) == ("16", "2")
        assert [p.weight for p in plan.passes] == [1.0, 0.3, 0.3]
        assert {p.share for p in plan.passes} == {None}
        middles.add(middle.budget)
    assert middles == {"4", "8", "12"}


@pytest.mark.parametrize("sizes", [(8, 16), (4, 8, 16)])
def test_with_up_to_three_sizes_the_sandwich_rule_runs_all(sizes: tuple[int, ...]) -> None:
    plan, _ = joint_plan(sizes, sharing="batch")
    assert [p.budget for p in plan.passes] == [str(size) for size in sorted(sizes, reverse=True)]


@pytest.mark.parametrize("sharing", ["rows", "batch"])
def test_only_units_outside_the_smallest_are_dropped_and_only_in_the_full_network(sharing: str) -> None:
    plan, subnets = joint_plan((4, 8, 16), sharing=sharing, layer_drop=0.3)
    full, *others = plan.passes
    assert full.drop == tuple(0.0 if keep else 0.3 for keep in subnets["4"])
    assert [p.drop for p in others] == [None, None]


def test_intermediate_losses_can_be_left_to_the_full_network() -> None:
    plan, _ = joint_plan((4, 8, 16), intermediate_on="full")
    assert [p.intermediate for p in plan.passes] == [True, False, False]


# All of them


@pytest.mark.parametrize("name", METHODS)
@given(num_steps=st.integers(1, 3000), share=st.floats(0, 1), smallest=st.integers(1, 16))
def test_the_updates_of_phases_add_up_to_those_of_the_run(
    name: str, num_steps: int, share: float, smallest: int
) -> None:
    sizes = (16,) if name == "individual" else tuple(sorted({smallest, 16}))
    config = tiny_config(
        "module", sizes=sizes, train={"num_steps": num_steps}, passes={"smallest_first": share}
    )
    options: dict[str, dict[str, object]] = {
        "individual": {"grow_from": smallest},
        "on-demand": {"grow": True},
        "fixed": {},
    }
    phases: list[Phase] = list(make(name, config, **options.get(name, {"score_learning": share})).phases())
    assert sum(phase.num_steps for phase in phases) == num_steps
    assert all(phase.num_steps >= 0 for phase in phases)
    assert phases[-1].chooses


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("num_steps", [1, 2, 3, 7])
def test_even_a_tiny_budget_ends_with_subnets_of_every_size(name: str, num_steps: int) -> None:
    config = tiny_config(sizes=(4,) if name == "individual" else (1, 2, 4), train={"num_steps": num_steps})
    steps, net = schedule(name, config)
    for step in range(num_steps):
        steps.begin(step)
        assert steps.plan(step).passes
    assert {name: sum(kept) for name, kept in steps.subnets().items()} == {
        str(size): size for size in config.sizes
    }
    assert net.masks.sum(1).tolist() == list(config.sizes)


@given(st.lists(st.floats(-5, 15), min_size=16, max_size=16))
def test_subnets_are_nested(values: list[float]) -> None:
    method = make("simple-top-k", tiny_config("module"))
    masks = [method.choose(context(values, method.table), Budget.of_size(size, 16)) for size in range(1, 17)]
    assert [sum(mask) for mask in masks] == list(range(1, 17))
    for small, large in itertools.pairwise(masks):
        assert all(keep_large or not keep_small for keep_small, keep_large in zip(small, large, strict=True))


def described(plan: Plan) -> list[object]:
    return [(p.budget, p.kept, p.weight, p.share, p.drop, isinstance(p.gate, partial)) for p in plan.passes]


@pytest.mark.parametrize("name", ["simple-top-k", "iterative-zero-out", "on-demand"])
def test_every_rank_draws_the_same_plans(name: str) -> None:
    config = tiny_config(sizes=(1, 2, 3, 4), train={"num_steps": 30}, passes={"sharing": "batch"}, seed=3)
    (ours, _), (theirs, _), (other, _) = (
        schedule(name, c) for c in (config, config, config.model_copy(update={"seed": 4}))
    )
    drawn: list[list[list[object]]] = [[], [], []]
    for step in range(30):
        for steps, plans in zip((ours, theirs, other), drawn, strict=True):
            steps.begin(step)
            plans.append(described(steps.plan(step)))
    assert drawn[0] == drawn[1]
    assert (drawn[0] == drawn[2]) == (name == "on-demand"), "another seed draws other intermediate sizes"


def test_a_schedule_resumes_from_the_models_buffers() -> None:
    config = tiny_config(train={"num_steps": 20})
    steps, net = schedule("simple-top-k", config)
    with torch.no_grad():
        net.scorer.importance().copy_(torch.tensor([1.0, 4.0, 2.0, 3.0]))
    steps.begin(10)
    with torch.no_grad():
        net.scorer.importance().copy_(
            torch.tensor([9.0, 0.0, 9.0, 0.0])
        )  # joint training may change only scores
    again = SupernetCTC(config, NUM_TOKENS)
    again.load_state_dict(net.state_dict())
    resumed = Schedule(make("simple-top-k", config), again, config.seed)
    resumed.begin(11)
    assert resumed.subnets() == steps.subnets() == {"2": (False, True, False, True), "4": (True,) * 4}
    assert described(resumed.plan(11)) == described(steps.plan(11))
