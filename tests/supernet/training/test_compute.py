"""The compute of a training against counts by hand and against the rows that actually run."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from torch import Tensor

from supernet.config import Config
from supernet.method import Method
from supernet.methods.individual import Individual, IndividualOptions
from supernet.methods.on_demand import OnDemand, OnDemandOptions
from supernet.methods.simple_top_k import SimpleTopK, SimpleTopKOptions
from supernet.network.lanes import LaneWalk
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import Body, Running
from supernet.plan import Draw, Pass, Plan
from supernet.training.compute import (
    expected_unit_steps,
    step_compute,
    typical_scorer,
    unit_steps,
    unit_weights,
    update_alone,
)
from supernet.training.schedule import Schedule
from supernet.training.step import step_of
from supernet.units import MODULES
from tests.supernet import tiny

FULL, SMALL = (True,) * 4, (True, False, False, True)


def schedule(method: Method[Any]) -> tuple[Schedule, SupernetCTC]:
    model = tiny.recognizer(method.config)
    made = Schedule(method, model, seed=0)
    made.begin(method.config.train.num_steps - 1)
    return made, model


def config(num_steps: int = 100, **changes: Any) -> Config:
    return tiny.tiny_config(sizes=(2, 4), train={"num_steps": num_steps}, **changes)


def test_a_size_trained_alone_runs_all_of_its_units_in_every_step() -> None:
    method = Individual(IndividualOptions(), tiny.tiny_config(sizes=(4,), train={"num_steps": 100}))
    made, _ = schedule(method)
    assert unit_steps(made, (1.0,) * 4) == 400


def test_rows_divided_among_sizes_cost_the_average() -> None:
    passes = {"layer_drop": 0.0, "smallest_first": 0.5}
    made, _ = schedule(SimpleTopK(SimpleTopKOptions(score_learning=0.4), config(passes=passes)))
    # 40 steps of score learning run all units, gated or not; 30 run the smallest size's two; 30 joint steps
    # run 4 units on a third of the rows, 2 on the rest.
    assert unit_steps(made, (1.0,) * 4) == pytest.approx(40 * 4 + 30 * 2 + 30 * 8 / 3)


def test_sizes_on_the_whole_batch_cost_their_sum_minus_shared_prefixes() -> None:
    plan = Plan((Pass("4", FULL), Pass("2", SMALL)))
    # The first layer runs once for both; after they have diverged, the last runs once for each.
    assert step_compute(plan, (1.0,) * 4) == 1 + 1 + 1 + 2


def test_stochastic_depth_costs_only_the_surviving_units() -> None:
    options = OnDemandOptions(max_drop=0.4)
    made, _ = schedule(OnDemand(options, config(num_steps=400)))
    kept = sum(1 - 0.4 * layer / 4 for layer in (1, 2, 3, 4))
    assert unit_steps(made, (1.0,) * 4) == pytest.approx(400 * kept, rel=0.03)


def top_k(score_learning: float = 0.0, granularity: str = "layer", **changes: Any) -> SimpleTopK:
    options = SimpleTopKOptions(score_learning=score_learning)
    return SimpleTopK(options, tiny.tiny_config(granularity, **changes))


def brute_force(num_units: int, sizes: tuple[int, ...], weights: tuple[float, ...], masks: int) -> float:
    """Every size on the whole batch: the mean cost of random nested masks, counted stream by stream."""
    rng, total = random.Random(1), 0.0
    for _ in range(masks):
        order = rng.sample(range(num_units), num_units)
        subnets = [frozenset(order[:size]) for size in sizes]
        for unit, weight in enumerate(weights):
            # Subnets that have kept the same units up to here share one stream.
            total += weight * len({tuple(sorted(u for u in s if u <= unit)) for s in subnets if unit in s})
    return total / masks


def by_hand(num_units: int, sizes: tuple[int, ...]) -> float:
    """The exact expectation: a subnet runs a unit separately if an earlier unit of the next larger subnet is
    missing from it.
    """
    expected = float(max(sizes))
    for small, large in itertools.pairwise(sorted(sizes)):
        gone = large - small  # any of the larger one's units, by symmetry
        for unit in range(num_units):
            later = math.comb(num_units - 1 - unit, gone) / math.comb(num_units, gone)
            expected += small / num_units - later * small / (num_units - gone)
    return expected


@pytest.mark.parametrize("sizes", [(6, 12), (6, 9, 12), (3, 11, 12)])
def test_sizes_on_the_whole_batch_cost_the_mean_of_random_nested_masks(sizes: tuple[int, ...]) -> None:
    passes = {"sharing": "batch", "layer_drop": 0.0, "smallest_first": 0.0}
    method = top_k(sizes=sizes, train={"num_steps": 100}, passes=passes, model={"num_layers": 12})
    exact = by_hand(12, sizes)
    assert brute_force(12, sizes, (1.0,) * 12, 4000) == pytest.approx(exact, rel=0.01)
    assert expected_unit_steps(method) == pytest.approx(100 * exact, rel=0.03)


def test_the_default_sizes_on_the_whole_batch_cost_nearly_two_full_networks() -> None:
    """Not one, as for the first 6 and 9 layers, which share their whole computation with all 12."""
    assert by_hand(12, (6, 9, 12)) / 12 == pytest.approx(1.9375)


def test_modules_count_by_their_multiply_accumulates() -> None:
    model = tiny.recognizer(tiny.tiny_config("module", model={"dim": 32, "ffn_dim": 128})).float()
    weights = dict(zip((unit.name for unit in model.table.units), unit_weights(model), strict=True))
    assert sum(weights.values()) == pytest.approx(16)
    for layer in range(4):
        ffn1, attention, conv, ffn2 = (weights[f"layers.{layer}.{m}"] for m in MODULES["conformer"])
        assert ffn1 == ffn2 == weights["layers.0.ffn1"]
        # Products of a frame: 2 of 32 x 128 in a feed-forward; 3 of 32 x 32 and 32 of 3 in a convolution.
        assert conv / ffn1 == pytest.approx((3 * 32**2 + 3 * 32) / (2 * 32 * 128), rel=1e-6)
        assert attention > 0
    assert unit_weights(tiny.recognizer(tiny.tiny_config())) == (1.0,) * 4


@pytest.mark.parametrize("sharing", ["rows", "batch"])
def test_modules_cost_the_mean_of_random_nested_masks(sharing: str) -> None:
    passes = {"sharing": sharing, "layer_drop": 0.0, "smallest_first": 0.0}
    method = top_k(granularity="module", sizes=(5, 16), train={"num_steps": 100}, passes=passes)
    weights = unit_weights(SupernetCTC(method.config, 2))
    by_rows = 16 / 3 + 5 * 2 / 3  # two thirds of the rows run any 5 of 16 units
    expected = by_rows if sharing == "rows" else brute_force(16, (5, 16), weights, 2000)
    assert expected_unit_steps(method) == pytest.approx(100 * expected, rel=0.03)


def test_typical_subnets_cost_about_as_much_as_random_ones_on_average() -> None:
    """A time estimate from the first units, which share everything, would be too low by a third."""
    passes = {"sharing": "batch", "layer_drop": 0.0, "smallest_first": 0.0}
    method = top_k(sizes=(6, 9, 12), train={"num_steps": 10}, passes=passes, model={"num_layers": 12})
    found = tiny.context(typical_scorer(method).importance(), method.table)
    plan = Plan(tuple(Pass(b.name, method.choose(found, b)) for b in reversed(method.budgets)))
    assert step_compute(plan, (1.0,) * 12) == pytest.approx(by_hand(12, (6, 9, 12)), rel=0.06)


@pytest.mark.parametrize("granularity", ["layer", "module"])
def test_a_full_network_trained_alone_costs_the_sum_of_its_units(granularity: str) -> None:
    units = 4 if granularity == "layer" else 16
    method = Individual(
        IndividualOptions(), tiny.tiny_config(granularity, sizes=(units,), train={"num_steps": 50})
    )
    assert expected_unit_steps(method) == pytest.approx(50 * units)
    assert update_alone(method.config, method.table.full) == pytest.approx(units)


def test_the_cost_of_prefixes_is_exact() -> None:
    """Individual training and on-demand pruning keep the first units, which are known."""
    config = tiny.tiny_config("module", sizes=(5, 16), train={"num_steps": 50})
    weights = unit_weights(SupernetCTC(config, 2))
    first = Individual(IndividualOptions(), config.model_copy(update={"sizes": (5,)}))
    assert expected_unit_steps(first) == pytest.approx(50 * sum(weights[:5]))
    assert update_alone(first.config, first.table.first(5)) == pytest.approx(sum(weights[:5]))


@pytest.mark.parametrize("sharing", ["rows", "batch"])
def test_the_count_equals_the_rows_that_the_encoder_runs(
    sharing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, model = schedule(SimpleTopK(SimpleTopKOptions(), config(passes={"sharing": sharing})))
    num_run = 0
    run = LaneWalk.run

    def counted(self: LaneWalk, units: Sequence[int], body: Body) -> None:
        def counting(x: Tensor, context: Any, running: Running) -> Tensor:
            nonlocal num_run
            num_run += len(x)
            return body(x, context, running)

        run(self, units, counting)

    data = tiny.batch([40] * 6)
    for step in (0, 99):
        plan, draw, num_run = made.plan(step), Draw(0, step), 0
        expected = step_compute(plan, (1.0,) * 4, draw, num_rows=6)
        with monkeypatch.context() as patch:
            patch.setattr(LaneWalk, "run", counted)
            model(data, step_of(plan, 6, draw))
        assert num_run / 6 == expected
