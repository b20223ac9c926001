"""The expected cost of gates, against costs of subnets and sums over all subnets."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from supernet.budget import Budget, Prices, SharedPrice
from supernet.training.expected_cost import expected_share, prunable_share

PRICES = Prices(
    "macs", 10.0, (4.0, 1.0, 2.0, 5.0, 3.0), (SharedPrice((0, 1, 2), 3.0), SharedPrice((3, 4), 1.0))
)


@given(st.lists(st.booleans(), min_size=5, max_size=5))
def test_at_gates_of_0_and_1_it_is_the_cost_of_the_subnet(kept: list[bool]) -> None:
    share = expected_share(torch.tensor(kept, dtype=torch.float64), PRICES)
    assert 10 + 19 * float(share) == pytest.approx(PRICES.of(tuple(kept)))


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_it_is_the_mean_cost_of_subnets_whose_units_are_drawn(gates: list[float]) -> None:
    mean = 0.0
    for kept in itertools.product((False, True), repeat=5):
        chance = math.prod(gate if keep else 1 - gate for gate, keep in zip(gates, kept, strict=True))
        mean += chance * PRICES.of(kept)
    assert 10 + 19 * float(expected_share(torch.tensor(gates, dtype=torch.float64), PRICES)) == pytest.approx(
        mean
    )


def test_its_gradient_is_the_price_of_a_unit_and_its_chance_to_be_the_only_part() -> None:
    """With gates of 1/2: 4 + 3 · (1/2)² for the first of three parts, and 5 + 1 · 1/2 for one of two."""
    gates_U = torch.full((5,), 0.5, dtype=torch.float64, requires_grad=True)
    expected_share(gates_U, PRICES).backward()  # type: ignore[no-untyped-call]
    assert gates_U.grad is not None
    assert (19 * gates_U.grad).tolist() == pytest.approx([4.75, 1.75, 2.75, 5.5, 3.5])


def test_several_gates_have_costs_of_their_own() -> None:
    gates_RU = torch.rand(3, 5, dtype=torch.float64)
    expected = [float(expected_share(gates_U, PRICES)) for gates_U in gates_RU]
    assert expected_share(gates_RU, PRICES).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("limit", "share"), [(10.0, 0.0), (19.5, 0.5), (29.0, 1.0), (40.0, 1.0)])
def test_a_budget_is_a_share_of_the_cost_of_all_units(limit: float, share: float) -> None:
    assert prunable_share(Budget("macs", limit, PRICES)) == pytest.approx(share)
    assert prunable_share(Budget.of_size(3, 4)) == 0.75
