"""The trainings that a comparison needs equal hand-counted ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from selection.study.contenders import Lineup, Training, first_units, steps_of, whole_hundreds
from selection.study.definition import CompareDefinition, Contender, checked
from supernet.runs.resolve import resolve
from supernet.training.compute import expected_unit_steps, update_alone

NET = {"dim": 16, "num_heads": 2, "ffn_dim": 32, "kernel": 3, "frontend_channels": 2}
SETTINGS: dict[str, Any] = {"sizes": [2, 4], "model": NET, "train": {"num_steps": 1000}}


def lineup(**changes: Any) -> Lineup:
    return Lineup(checked(CompareDefinition, {"settings": SETTINGS, **changes}))


def test_sizes_alone_share_the_compute_of_the_full_network_or_get_it_each() -> None:
    base, alone = resolve([SETTINGS]), resolve([SETTINGS, {"method": "individual"}])
    # The full network alone runs 4 units in each of 1,000 steps: 4,000.
    assert steps_of("updates", alone, base) == {"2": 1000, "4": 1000}
    assert steps_of("compute", alone, base) == {"2": 667, "4": 667}  # 667 * (2 + 4) = 4,002
    assert steps_of("compute-each", alone, base) == {"2": 2000, "4": 1000}


@pytest.mark.parametrize(
    "method", ["simple-top-k", "iterative-zero-out", "on-demand", "ortho-softmax", "auto-train-once", "dais"]
)
def test_a_supernet_at_equal_compute_uses_nearly_all_of_it(method: str) -> None:
    base = resolve([SETTINGS])
    (steps,) = set(steps_of("compute", resolve([SETTINGS, {"method": method}]), base).values())
    assert steps > 1000
    assert steps % 100 == 0
    paid = expected_unit_steps(resolve([SETTINGS, {"method": method, "train": {"num_steps": steps}}]).method)
    assert 0.88 * 4000 < paid <= 1.01 * 4000  # because of rounding and stochastic depth


def test_strategies_and_regimes_share_trainings() -> None:
    found = lineup(
        methods={"on-demand": ["tail", "greedy"], "individual": []},
        seeds=[3, 4],
        regimes=["updates", "compute-each"],
    )
    names = [training.name for training in found.trainings()]
    assert len(names) == len(set(names))
    # The full network alone gets 1,000 updates in both regimes, the size of 2 units 1,000 and 2,000.
    alone = {name for name in names if name.startswith("individual") and name.endswith("seed3")}
    assert alone == {"individual-4-1000-seed3", "individual-2-1000-seed3", "individual-2-2000-seed3"}
    assert {name.rpartition("-")[2] for name in names} == {"seed3", "seed4"}
    assert [c.name for c in found.contenders] == ["on-demand, tail", "on-demand, greedy", "individual"]


def test_sizes_alone_need_separate_trainings_and_those_of_a_supernet_share_one() -> None:
    found = lineup()
    alone, joint = Contender("individual", None), Contender("simple-top-k", None)
    assert found.training("updates", alone, "2", 0) != found.training("updates", alone, "4", 0)
    assert found.training("updates", joint, "2", 0) == found.training("updates", joint, "4", 0)
    assert found.training("updates", alone, "2", 0).changes() == {
        "sizes": [2],
        "seed": 0,
        "train": {"num_steps": 1000},
    }


def test_a_variant_is_a_contender_with_its_own_training() -> None:
    variants = {
        "hot": {"train": {"lr": 0.01}},
        "hot-alone": {"method": "individual", "train": {"lr": 0.01}},
    }
    found = lineup(methods={"simple-top-k": []}, variants=variants, seeds=[5], regimes=["updates"])
    assert [c.name for c in found.contenders] == ["simple-top-k", "hot", "hot-alone"]
    assert [training.name for training in found.trainings()] == [
        "simple-top-k-1000-seed5",
        "hot-1000-seed5",
        "hot-alone-4-1000-seed5",
        "hot-alone-2-1000-seed5",
    ]
    ways = found.definition.ways
    alone = found.definition.resolved(ways["hot-alone"], found.trainings()[-1].changes()).config
    assert (alone.method.name, alone.sizes, alone.seed, alone.train.lr) == ("individual", (2,), 5, 0.01)
    assert found.definition.resolved(ways["hot"]).config.method.name == "simple-top-k"


def test_larger_batches_mean_fewer_updates_at_equal_compute() -> None:
    base = resolve([SETTINGS])
    twice = resolve([SETTINGS, {"task": {"batch_seconds": 56}}])  # 28 by default
    four_times = resolve([SETTINGS, {"task": {"batch_seconds": 56}, "train": {"accumulate": 2}}])
    steps = [steps_of("compute", resolved, base)["4"] for resolved in (base, twice, four_times)]
    assert steps[0] > 1000
    assert abs(steps[0] / 2 - steps[1]) < 100  # both are rounded down to hundreds
    assert abs(steps[0] / 4 - steps[2]) < 100


def test_the_cost_of_a_grown_network_is_that_of_its_phases() -> None:
    """Three quarters of the updates run only the first units, so 4 units grown from 2 cost 2.5 on average."""
    base = resolve([SETTINGS])
    grown = resolve([SETTINGS, {"method": {"name": "individual", "grow_from": 2}}])
    assert steps_of("updates", grown, base) == {"2": 1000, "4": 1000}
    assert steps_of("compute-each", grown, base) == {"2": 2000, "4": 1600}  # 1600 * 2.5 = 4,000
    assert steps_of("compute", grown, base) == {"2": 889, "4": 889}  # 889 * (2 + 2.5) = 4,000
    largest = resolve([SETTINGS, {"method": {"name": "on-demand", "max_drop": 0, "grow": True}}])
    assert steps_of("compute", largest, base) == {"2": 1600, "4": 1600}


GROWN: dict[str, Any] = {"grown": {"method": {"name": "on-demand", "max_drop": 0, "grow": True}}}
TUNED: dict[str, Any] = {"tuned": {"of": "grown", "strategy": "greedy", "share": 0.25}}


@pytest.mark.parametrize(
    ("regime", "before", "after"),
    [
        ("updates", 250, 750),
        ("compute", 400, 1500),  # 400 * 2.5 + 1500 * 2 = 4,000
        ("compute-each", 400, 1500),  # there is only one smaller size
    ],
)
def test_pruning_and_fine_tuning_share_the_compute(regime: Any, before: int, after: int) -> None:
    found = lineup(methods={"simple-top-k": []}, variants=GROWN, fine_tuned=TUNED, regimes=[regime])
    tuned = found.contenders[-1]
    assert tuned == Contender("tuned", None)
    large, small = (found.training(regime, tuned, size, 0) for size in ("4", "2"))
    assert (large.way, large.sizes, large.steps, large.start) == ("grown", ("2", "4"), before, None)
    assert (small.way, small.sizes, small.steps, small.start) == ("tuned", ("2",), after, large)
    assert small.name == f"tuned-2-{before}-{after}-seed0"
    names = [training.name for training in found.trainings()]
    assert names.index(large.name) < names.index(small.name)


def test_fine_tuned_sizes_share_the_rest_of_the_compute_or_get_it_each() -> None:
    settings = {**SETTINGS, "sizes": [1, 2, 4]}
    tuned = {"tuned": {"of": "individual", "strategy": "tail", "share": 0.5}}
    definition = {"settings": settings, "methods": {"individual": []}, "fine_tuned": tuned}
    found = Lineup(checked(CompareDefinition, {**definition, "regimes": ["compute", "compute-each"]}))
    steps = {
        regime: [found.training(regime, Contender("tuned", None), size, 0).steps for size in ("1", "2", "4")]
        for regime in ("compute", "compute-each")
    }
    # Half of 4,000 is 500 updates of 4 units; the other sizes together get 667 * (1 + 2) = 2,001.
    assert steps == {"compute": [667, 667, 500], "compute-each": [2000, 1000, 500]}


@pytest.mark.parametrize(("regime", "before"), [("updates", 250), ("compute", 400), ("compute-each", 400)])
def test_a_teacher_and_those_that_imitate_it_share_the_compute(regime: Any, before: int) -> None:
    taught = {"taught": {"of": "grown", "share": 0.25, "settings": {"method": "individual"}}}
    found = lineup(methods={"simple-top-k": []}, variants=GROWN, distilled=taught, regimes=[regime])
    large, small = (found.training(regime, found.contenders[-1], size, 0) for size in ("4", "2"))
    assert large.start == small.start
    teacher = large.start
    assert teacher is not None
    assert (teacher.way, teacher.sizes, teacher.steps) == ("grown", ("2", "4"), before)  # 400 * 2.5 = 1,000
    assert (large.sizes, small.sizes) == (("4",), ("2",))
    names = [training.name for training in found.trainings()]
    assert names.index(teacher.name) < names.index(large.name)  # a run of the study, whose cost counts
    # The teacher reads every batch, for a third of what units cost forward and backward. It counts as large
    # as the network that imitates it.
    costs = 4 + 4 / 3, 2 + 2 / 3
    if regime == "updates":
        assert (large.steps, small.steps) == (750, 750)
    elif regime == "compute-each":
        paid = large.steps * costs[0], small.steps * costs[1]
        assert paid == pytest.approx((3000, 3000), rel=0.01)
    else:
        assert large.steps == small.steps
        assert large.steps * sum(costs) == pytest.approx(3000, rel=0.01)


def test_with_another_seed_all_stages_have_it() -> None:
    start = Training("grown", ("2", "4"), 10, 0, False)
    training = replace(Training("tuned", ("2",), 5, 0, True, start), rate=0.01).with_seed(7)
    assert training.name == "tuned-2-10-5-rate0.01-seed7"
    assert training.start == replace(start, seed=7)
    assert training.changes()["train"] == {"num_steps": 5, "lr": 0.01}


def test_strategies_can_choose_from_networks_of_variants() -> None:
    found = lineup(methods={"simple-top-k": []}, variants=GROWN, strategies={"grown": ["tail", "greedy"]})
    assert [c.name for c in found.contenders] == ["simple-top-k", "grown, tail", "grown, greedy"]


def test_numbers_of_updates_are_rounded_down_to_hundreds() -> None:
    assert [whole_hundreds(x) for x in (2596.2, 100.0, 99.9, 34.5)] == [2500, 100, 99, 34]


BUDGETS = ("macs=60%", "macs=100%")
"""The smaller one has room for two layers of four, or one or two modules more."""


def by_budget(**changes: Any) -> Lineup:
    settings = {"budgets": BUDGETS, "model": {**NET, "num_layers": 4}, "train": {"num_steps": 1000}}
    changes = {"methods": {"individual": []}, "regimes": ["compute-each"], **changes}
    return Lineup(checked(CompareDefinition, {"settings": settings, **changes}))


@pytest.mark.parametrize("granularity", ["layer", "module", "component"])
def test_units_of_all_kinds_get_the_same_compute_for_the_same_budgets(granularity: str) -> None:
    other = {"granularity": granularity, "method": {"name": "fixed", "masks": "first-k"}}
    found = by_budget(variants={"other": other, "alone": {**other, "method": "individual"}})
    assert found.sizes == BUDGETS
    for contender in found.contenders:
        for budget in BUDGETS:
            training = found.training("compute-each", contender, budget, 0)
            assert found.unit_steps(training) == pytest.approx(4000, rel=0.05)  # in layers
            settings = found.definition.resolved(
                found.definition.ways[contender.way], training.changes()
            ).config
            assert settings.names == training.sizes
            assert budget in training.sizes
    names = {training.name for training in found.trainings() if training.seed == 0}
    assert {"individual-macs=100%-1000-seed0", "individual-macs=60%-2000-seed0"} <= names


def test_a_budget_alone_is_the_first_units_that_fit() -> None:
    layers, modules = (by_budget().definition.resolved({"granularity": g}) for g in ("layer", "module"))
    assert first_units(layers, "macs=60%") == (True, True, False, False)
    kept = first_units(modules, "macs=60%")
    assert kept[:8] == (True,) * 8  # two layers, and as many further modules as fit
    macs = modules.method.prices["macs"]
    assert 0.5 < macs.of(kept) / macs.full <= 0.6
    assert update_alone(layers.config, first_units(layers, "macs=60%")) == 2
