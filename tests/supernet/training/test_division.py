"""Batches are divided among processes by what their rows cost."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from supernet.plan import Pass, Plan, Step
from supernet.training.division import divide_rows, part_of, row_costs
from tests.supernet import tiny

Costs = st.lists(st.floats(0.1, 100), max_size=20)


@given(Costs, st.integers(1, 5))
def test_every_row_is_in_one_part_and_none_is_much_larger(costs: list[float], count: int) -> None:
    parts = divide_rows(costs, count)
    assert len(parts) == count
    assert sorted(row for part in parts for row in part) == list(range(len(costs)))
    assert all(list(part) == sorted(part) for part in parts)
    sums = [sum(costs[row] for row in part) for part in parts]
    assert max(sums) - min(sums) <= max(costs, default=0) * (1 + 1e-9)


def test_only_the_last_parts_are_empty() -> None:
    assert divide_rows([3.0, 5.0], 4) == [(1,), (0,), (), ()]


def test_a_row_costs_its_frames_times_its_units() -> None:
    small, large = (True, *[False] * 11), (True,) * 12
    plan = Plan((Pass("1", small), Pass("12", large, share=0.5), Pass("1", small, share=0.5)))
    step = Step(plan, (range(2), range(0, 1), range(1, 2)))
    assert row_costs(step, [100, 40]) == pytest.approx([100 * (1 + 1 + 12), 40 * (1 + 1 + 1)])


def test_a_part_has_its_rows_without_the_padding_of_others() -> None:
    whole = tiny.batch([60, 100, 48])
    whole.hidden_BTF = torch.zeros_like(whole.features_BTF, dtype=torch.bool)
    part = part_of(whole, (0, 2))
    assert part.features_BTF.shape[:2] == (2, 60)
    assert part.hidden_BTF is not None
    assert part.hidden_BTF.shape == part.features_BTF.shape
    assert torch.equal(part.features_BTF[1, :48], whole.features_BTF[2, :48])
    assert (part.num_frames, part.num_targets, part.ids) == ([60, 48], [1, 3], ["u0", "u2"])
    assert torch.equal(part.targets_BL, whole.targets_BL[[0, 2]])
