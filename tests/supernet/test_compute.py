"""The cost of a training, against hand counts and against the rows that really run."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from supernet.compute import step_cost, unit_steps
from supernet.config import Config
from supernet.lanes import Walk
from supernet.methods.individual import Individual, IndividualOptions
from supernet.methods.on_demand import OnDemand, OnDemandOptions
from supernet.methods.simple_top_k import SimpleTopK, SimpleTopKOptions
from supernet.model import Recogniser
from supernet.phases import Method, Schedule
from supernet.step import Draw, Pass, Plan, Step
from tests.supernet import tiny

FULL, SMALL = (True,) * 4, (True, False, False, True)


def schedule(method: Method) -> tuple[Schedule, Recogniser]:
    model = tiny.recogniser(method.config)
    made = Schedule(method, model, seed=0)
    made.begin(method.config.train.num_steps - 1)
    return made, model


def config(num_steps: int = 100, **changes: Any) -> Config:
    return tiny.tiny_config(sizes=(2, 4), train={"num_steps": num_steps}, **changes)


def test_a_net_alone_runs_all_its_units_in_every_step() -> None:
    alone = Individual(IndividualOptions(), tiny.tiny_config(sizes=(4,), train={"num_steps": 100}))
    made, model = schedule(alone)
    assert unit_steps(made, model.scores, 0) == 400


def test_rows_divided_among_sizes_cost_their_average() -> None:
    passes = {"layer_drop": 0.0, "smallest_first": 0.5}
    made, model = schedule(SimpleTopK(SimpleTopKOptions(score_learning=0.4), config(passes=passes)))
    # 40 steps of score learning run all units, gated or not; 30 run the smallest size's two; 30 joint steps
    # run 4 units on a third of the rows, 2 on the rest.
    assert unit_steps(made, model.scores, 0) == pytest.approx(40 * 4 + 30 * 2 + 30 * 8 / 3)


def test_every_size_on_the_whole_batch_costs_their_sum_but_for_what_they_share() -> None:
    plan = Plan((Pass(4, FULL), Pass(2, SMALL)))
    # The first layer runs once for both; where they have parted, the last runs for each.
    assert step_cost(plan, torch.zeros(4)) == 1 + 1 + 1 + 2


def test_stochastic_depth_costs_what_survives() -> None:
    options = OnDemandOptions(max_drop=0.4)
    made, model = schedule(OnDemand(options, config(num_steps=400)))
    kept = sum(1 - 0.4 * layer / 4 for layer in (1, 2, 3, 4))
    assert unit_steps(made, model.scores, 0) == pytest.approx(400 * kept, rel=0.03)


@pytest.mark.parametrize("sharing", ["rows", "batch"])
def test_the_count_is_what_the_encoder_runs(sharing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, model = schedule(SimpleTopK(SimpleTopKOptions(), config(passes={"sharing": sharing})))
    num_run = 0
    run = Walk.run

    def counted(self: Walk, unit: int, body: object, *, is_branch: bool) -> None:
        def counting(x, layout, cache):  # type: ignore[no-untyped-def]
            nonlocal num_run
            num_run += len(x)
            return body(x, layout, cache)  # type: ignore[operator]

        run(self, unit, counting, is_branch=is_branch)

    data = tiny.batch([40] * 6)
    for step in (0, 99):
        plan, draw, num_run = made.plan(step), Draw(0, step), 0
        expected = step_cost(plan, model.scores, draw, num_rows=6)
        with monkeypatch.context() as patch:
            patch.setattr(Walk, "run", counted)
            model(data, Step(plan, draw))
        assert num_run / 6 == expected
