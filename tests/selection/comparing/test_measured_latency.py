"""The measured time of the whole subnet meets a latency budget, however wrong the sum over its units is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from selection.comparing.comparison import Comparison
from selection.comparing.measured_latency import fit_measured
from selection.reporting.tables import cost, latency_lines
from supernet.budget import SLACK, Budget, Prices
from supernet.system.timing import BUSY
from supernet.units import Kept
from tests.selection import made_up

times = st.floats(1e-4, 0.1)


@st.composite
def budgets(draw: st.DrawFn) -> Budget:
    prices = Prices("latency", draw(times), tuple(draw(st.lists(times, min_size=1, max_size=9))))
    limit = draw(st.floats(0.3, 1.2)) * prices.full
    assume(limit * SLACK >= prices.cheapest)
    return Budget("latency", limit, prices)


@given(budgets(), st.data())
def test_the_choice_meets_the_budget_when_measured(budget: Budget, data: st.DataObject) -> None:
    """The error of the sum may be large and differ between subnets: the budget is exceeded only if even the
    cheapest unit takes too long.
    """
    factors: dict[Kept, float] = {}

    def whole(kept: Kept) -> float:
        if kept not in factors:
            factors[kept] = data.draw(st.floats(0.7, 2.0), label="measured time divided by the sum")
        return factors[kept] * budget.prices.of(kept)

    asked_for = list[Budget]()

    def choose(asked: Budget) -> Kept:
        asked_for.append(asked)
        return asked.fill(range(asked.num_units))

    kept, asked = fit_measured(choose, budget, whole)
    assert any(kept)
    assert asked.fits(kept)
    assert budget.fits(kept)
    assert not any(one.fits(one.full) for one in asked_for), "a strategy must not be asked if all units fit"
    if whole(kept) > budget.limit * SLACK:
        last = replace(budget, limit=budget.prices.cheapest).fill(range(budget.num_units))
        assert whole(last) > budget.limit * SLACK


def test_a_choice_that_takes_44_percent_too_long_is_made_again() -> None:
    """Six units of 2 ms and a base of 2 ms; measured as a whole, every subnet takes 1.44 times its sum."""
    prices = Prices("latency", 0.002, (0.002,) * 6)
    budget = Budget("latency=10ms", 0.010, prices)
    kept, _ = fit_measured(lambda asked: asked.fill(range(6)), budget, lambda kept: 1.44 * prices.of(kept))
    assert sum(kept) == 2  # 1.44 times 6 ms are 8.64 ms; three units would take 11.52 ms
    kept, _ = fit_measured(lambda asked: asked.fill(range(6)), budget, lambda kept: 0.9 * prices.of(kept))
    assert sum(kept) == 4
    kept, _ = fit_measured(lambda asked: asked.fill(range(6)), budget, lambda _: 0.0144)
    assert sum(kept) == 4  # nothing meets the budget, and dropping units does not help


@pytest.fixture(scope="module")
def layers() -> Comparison:
    return made_up.layers()


def test_a_choice_over_the_budget_is_marked(layers: Comparison) -> None:
    contest = next(contest for contest in layers.contests if contest.quantity == "latency")
    first, *others = contest.rows
    late = replace(first, costs={**first.costs, "latency": 1.44 * contest.limit}, over=0.44)
    assert cost(contest, late).endswith("(over by 44 %)")
    assert "over" not in cost(contest, replace(late, over=0.0))
    changed = replace(contest, rows=(late, *others))
    contests = tuple(changed if one is contest else one for one in layers.contests)
    said = latency_lines(replace(layers, contests=contests, busy=True))
    assert sum("over by 44 %" in line for line in said) == 1
    assert any(late.strategy in line and "over by 44 %" in line for line in said)
    assert said[-1] == BUSY
    assert BUSY not in latency_lines(layers)
