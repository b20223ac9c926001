"""Rows, drops, and readings of a step as plain data."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from supernet.network.lanes import Lane
from supernet.network.passes import IntermediateCTC, Job, depth_drops, jobs_of
from supernet.plan import Draw, Pass, Plan
from supernet.scorer import Context
from supernet.training.step import step_of
from tests.supernet.tiny import context


def jobs(plan: Plan, num_rows: int, draw: Draw | None = None) -> list[Job]:
    num_units = len(plan.passes[0].kept)
    reader, seen = IntermediateCTC((), tuple(range(num_units)), 0.5), context([0.0] * num_units)
    return jobs_of(step_of(plan, num_rows, draw), reader, lambda gate: gate(seen))


def test_a_pass_without_rows_is_left_out() -> None:
    plan = Plan((Pass("2", (True, True), share=0.5), Pass("1", (True, False), share=0.5)))
    assert [(job.pass_.budget, job.lane.rows) for job in jobs(plan, 1)] == [("2", range(1))]


def test_survivors_are_divided_by_their_probability() -> None:
    drops, scale = depth_drops((0.0, 0.25, 0.9), (True, True, False), range(2, 6), random.Random(0))
    assert set(drops) == set(scale) == {1}, "only kept units with a drop probability"
    assert scale[1] == pytest.approx(1 / 0.75)
    assert drops[1] <= set(range(2, 6))


@given(st.floats(0.05, 0.9), st.integers(0, 1000))
def test_stochastic_depth_keeps_the_mean(p: float, seed: int) -> None:
    drops, scale = depth_drops((p,), (True,), range(4000), random.Random(seed))
    mean = scale[0] * (1 - len(drops[0]) / 4000)
    assert mean == pytest.approx(1, abs=6 * (p / (1 - p) / 4000) ** 0.5)


def lanes(draw: Draw) -> list[Lane]:
    plan = Plan((Pass("2", (True, True), drop=(0.5, 0.5)), Pass("1", (True, False), drop=(0.5, 0.5))))
    return [job.lane for job in jobs(plan, 64, draw)]


def test_drops_depend_only_on_seed_step_rank_and_micro_batch() -> None:
    first = lanes(Draw(1, 2, 3, 4))
    random.random()
    assert lanes(Draw(1, 2, 3, 4)) == first
    for other in (Draw(0, 2, 3, 4), Draw(1, 0, 3, 4), Draw(1, 2, 0, 4), Draw(1, 2, 3, 0)):
        assert lanes(other) != first


def test_passes_with_the_same_gate_share_its_values() -> None:
    calls: Counter[str] = Counter()

    def gate(context: Context) -> torch.Tensor:
        calls["gate"] += 1
        return torch.sigmoid(context.scorer.importance())

    plan = Plan((Pass("2", (True,), gate=gate), Pass("1", (True,), gate=gate)))
    a, b = (job.lane for job in jobs(plan, 2))
    assert a.gates is b.gates
    assert calls["gate"] == 1


@pytest.mark.parametrize(
    ("kept", "positions"),
    [
        ("111111", (2, 4)),
        ("001111", (4,)),  # nothing is kept up to position 2
        ("110011", (4,)),  # nothing between 2 and 4: read once, at the later position
        ("111100", (2,)),  # the reading at position 4 equals the output
        ("110000", ()),
        ("000011", ()),
        ("010101", (2, 4)),
    ],
)
def test_equal_readings_count_once_and_none_is_before_the_first_unit(
    kept: str, positions: tuple[int, ...]
) -> None:
    reader = IntermediateCTC((2, 4), tuple(range(6)), 0.5)
    assert reader.positions_for(tuple(c == "1" for c in kept)) == positions


def test_readings_separated_by_final_norms_all_count() -> None:
    """At module granularity, norms run between readings even without a unit between them."""
    reader = IntermediateCTC((1, 2, 3), (0, 0, 1, 1, 2, 2, 3, 3), 0.5, dedupe=False)
    assert reader.positions_for((False, True, False, False, False, False, True, True)) == (1, 2, 3)
    assert reader.positions_for((False, False, False, True, False, False, True, True)) == (2, 3)


@given(st.lists(st.booleans(), min_size=6, max_size=6))
def test_readings_are_exactly_the_different_ones(kept: list[bool]) -> None:
    chosen = IntermediateCTC((1, 2, 3, 4, 5), tuple(range(6)), 0.5).positions_for(tuple(kept))
    depths = [sum(kept[:position]) for position in chosen]
    assert len(set(depths)) == len(depths)
    expected = {sum(kept[:position]) for position in range(1, 6)} - {0, sum(kept)}
    assert set(depths) == expected
