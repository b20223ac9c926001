"""Budgets: their syntax, clear errors, and how they are filled."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from supernet.budget import Budget, BudgetError, Prices, Quantity, SharedPrice, Wish, shown, toggled

amounts = st.floats(0, 1e6, allow_subnormal=False)
positive = st.floats(1e-6, 1e6)


@st.composite
def some_prices(draw: st.DrawFn, quantity: Quantity = "params") -> Prices:
    """Prices of up to nine units, some of which may be zero."""
    return Prices(quantity, draw(amounts), tuple(draw(st.lists(amounts, min_size=1, max_size=9))))


@st.composite
def counted_prices(draw: st.DrawFn) -> Prices:
    """Prices in parameters or MACs, which are integers."""
    numbers = st.integers(1, 10**12)
    units = draw(st.lists(numbers, min_size=1, max_size=9))
    quantity: Quantity = draw(st.sampled_from(["params", "macs"]))
    return Prices(quantity, float(draw(numbers)), tuple(map(float, units)))


@st.composite
def measured_prices(draw: st.DrawFn) -> Prices:
    """Prices in seconds, of at least a microsecond."""
    times = st.floats(1e-6, 10)
    return Prices("latency", draw(times), tuple(draw(st.lists(times, min_size=1, max_size=9))))


@st.composite
def tasks(draw: st.DrawFn) -> tuple[Budget, list[int]]:
    """A budget that some subnets exceed, and a ranking of all units."""
    prices = draw(some_prices())
    limit = draw(st.floats(0, 1.2)) * prices.full
    return Budget("b", limit, prices), draw(st.permutations(range(len(prices.units))))


def refusal(wish: Wish, prices: Prices) -> str:
    with pytest.raises(BudgetError) as caught:
        wish.priced(prices)
    return str(caught.value)


# Syntax.


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("6", Wish("6", "units", 6, False)),
        (" 6 ", Wish("6", "units", 6, False)),
        ("6.0", Wish("6", "units", 6, False)),
        ("units=6", Wish("6", "units", 6, False)),
        ("50%", Wish("50%", "units", 0.5, True)),
        ("units=50%", Wish("units=50%", "units", 0.5, True)),
        ("params=50%", Wish("params=50%", "params", 0.5, True)),
        ("params=12.5%", Wish("params=12.5%", "params", 0.125, True)),
        ("params=1500000", Wish("params=1500000", "params", 1.5e6, False)),
        ("params=1.5e6", Wish("params=1.5e6", "params", 1.5e6, False)),
        ("params=1.5M", Wish("params=1.5M", "params", 1.5e6, False)),
        ("params=1.5 m", Wish("params=1.5 m", "params", 1.5e6, False)),
        ("params=800k", Wish("params=800k", "params", 8e5, False)),
        ("macs=1.2G", Wish("macs=1.2G", "macs", 1.2e9, False)),
        ("macs=70%", Wish("macs=70%", "macs", 0.7, True)),
        ("latency=20ms", Wish("latency=20ms", "latency", 0.02, False)),
        ("latency=0.5s", Wish("latency=0.5s", "latency", 0.5, False)),
        ("latency=80%", Wish("latency=80%", "latency", 0.8, True)),
    ],
)
def test_every_form_of_a_budget_is_parsed(text: str, wish: Wish) -> None:
    assert Wish.parse(text) == wish


@given(st.integers(0, 10**4))
def test_a_size_is_a_number_of_units(size: int) -> None:
    assert Wish.parse(str(size)) == Wish.parse(f"units={size}") == Wish(str(size), "units", size, False)


MALFORMED = [
    "", "=", "params", "params=", "params=%", "=50%", "speed=50%", "Params=50%",
    "params=fifty", "params=-5M", "params=1,5M", "params=1.5X", "params=1.5ms", "params=nan", "params=inf",
    "params=5%=5%", "params=.5M", "params=50%%", "latency=20", "latency=20M", "latency=ms", "macs=20s",
    "units=6k", "units=-6", "six", "6ms", "1e999", "units=1e999", "params=1e999", "latency=1e999ms",
    "params=²",
]  # fmt: skip


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_budgets_are_errors_that_name_the_option(text: str) -> None:
    with pytest.raises(BudgetError, match="`budget` must look like ") as caught:
        Wish.parse(text)
    assert str(caught.value).endswith(f"but is '{text}' instead.")


@pytest.mark.parametrize("text", ["6.5", "units=0.5", "1e-3"])
def test_numbers_of_units_are_integers(text: str) -> None:
    with pytest.raises(BudgetError, match=f"^`budget` must count whole units, but is '{text}' instead.$"):
        Wish.parse(text)


def answer(text: str) -> Wish | str:
    try:
        return Wish.parse(text)
    except BudgetError as e:
        return str(e)


nearly_right = st.from_regex(r"(units|params|macs|latency)=[0-9.e+%kmgs]{0,8}", fullmatch=True)


@given(st.text(max_size=12) | nearly_right)
def test_any_text_is_parsed_or_a_clear_error(text: str) -> None:
    found = answer(text)
    assert found.startswith("`budget` must ") if isinstance(found, str) else found.amount >= 0


# Limits for a network.


@given(some_prices(), st.integers(1, 300))
def test_a_percentage_is_relative_to_the_whole_network(prices: Prices, percent: int) -> None:
    assume(percent / 100 * prices.full >= prices.cheapest)
    budget = Wish.parse(f"params={percent}%").priced(prices)
    assert budget.limit == pytest.approx(percent / 100 * (prices.base + sum(prices.units)))
    assert budget.name == f"params={percent}%"


@given(some_prices())
def test_the_full_network_costs_100_percent(prices: Prices) -> None:
    budget = Wish.parse("params=100%").priced(prices)
    assert budget.fits(budget.full)


@given(st.integers(1, 100), st.integers(1, 100))
@example(50, 58)  # 0.58 * 50 is a little less than 29
@example(100, 29)
def test_a_percentage_of_units_is_rounded_down(num_units: int, percent: int) -> None:
    assume(percent * num_units >= 100)
    budget = Wish.parse(f"units={percent}%").priced(Prices.counting(num_units))
    assert budget.limit == percent * num_units // 100


@given(st.integers(1, 30), st.integers(0, 60))
def test_a_size_must_be_within_the_network(num_units: int, size: int) -> None:
    wish, prices = Wish.parse(str(size)), Prices.counting(num_units)
    if 1 <= size <= num_units:
        assert wish.priced(prices) == Budget.of_size(size, num_units)
        return
    assert refusal(wish, prices) == (
        f"`size` must lie between 1 and {num_units}, the units of this network, but is {size} instead."
    )


@pytest.mark.parametrize("text", ["units=5%", "units=101%"])
def test_a_share_of_units_must_be_within_the_network(text: str) -> None:
    assert refusal(Wish.parse(text), Prices.counting(12)).endswith(f"but is {text} instead.")


# Impossible budgets.


def test_an_impossible_budget_explains_the_cheapest() -> None:
    prices = Prices("params", 1.5e6, (2e6, 1e6))
    assert refusal(Wish.parse("params=2M"), prices) == (
        "`budget` params=2M must leave room for at least one unit, but the cheapest subnet costs 2.500 M, "
        "including 1.500 M for the frontend and the head, which always run. Ask for params=2.501M or more."
    )


@given(counted_prices() | measured_prices(), st.floats(0, 1.5), st.booleans())
@example(Prices("latency", 0.001, (0.000234, 0.1)), 0.0, False)  # 1.234 ms; 1.23 ms would be too little
@example(Prices("latency", 1e-6, (1e-6,)), 0.0, False)
@example(Prices("params", 999_000.0, (600.0,)), 0.0, False)
@example(Prices("params", 1.0, (1.0, 10.0**12)), 0.0, True)
def test_the_budget_suggested_by_an_error_is_accepted(prices: Prices, part: float, is_share: bool) -> None:
    asked = part * prices.cheapest / (prices.full if is_share else 1.0)
    wish = Wish("b", prices.quantity, asked, is_share)
    if part >= 1:
        wish = Wish("b", prices.quantity, asked * (1 + 1e-12), is_share)
        assert any(wish.priced(prices).fill(range(len(prices.units))))
        return
    assume(part < 1 - 1e-6)
    message = refusal(wish, prices)
    assert shown(prices.quantity, prices.cheapest) in message
    assert shown(prices.quantity, prices.base) in message
    found = re.search(r"Ask for (\S+) or more\.$", message)
    assert found is not None
    budget = Wish.parse(found[1]).priced(prices)
    assert budget.limit <= 1.002 * prices.cheapest + 1e-5 + is_share * 0.0011 * prices.full, "must be tight"
    assert any(budget.fill(range(len(prices.units))))


# Filling.


@given(some_prices(), st.data())
def test_a_subnet_costs_its_units_and_the_base(prices: Prices, data: st.DataObject) -> None:
    num_units = len(prices.units)
    kept = tuple(data.draw(st.lists(st.booleans(), min_size=num_units, max_size=num_units)))
    expected = prices.base + sum(prices.units[i] for i in range(num_units) if kept[i])
    assert prices.of(kept) == pytest.approx(expected)
    assert prices.of((True,) * num_units) == prices.full
    assert prices.cheapest == min(
        prices.of(tuple(i == j for i in range(num_units))) for j in range(num_units)
    )


@given(tasks())
def test_a_filled_budget_is_met_and_full(task: tuple[Budget, list[int]]) -> None:
    budget, ranking = task
    kept = budget.fill(ranking)
    assert not any(kept) or budget.prices.of(kept) <= budget.limit * (1 + 1e-9)
    assert budget.addable(kept) == []
    assert any(kept) == (budget.prices.cheapest <= budget.limit * (1 + 1e-9))


@given(tasks(), st.data())
def test_filling_keeps_the_units_it_starts_from(task: tuple[Budget, list[int]], data: st.DataObject) -> None:
    budget, ranking = task
    some = data.draw(st.integers(0, len(ranking)))
    start = budget.fill(ranking[:some])
    kept = budget.fill(reversed(ranking), start)
    assert all(now for now, before in zip(kept, start, strict=True) if before)
    assert budget.addable(kept) == []
    assert budget.fill(ranking, kept) == kept


@given(tasks(), st.data())
def test_addable_units_are_those_that_fit(task: tuple[Budget, list[int]], data: st.DataObject) -> None:
    budget, ranking = task
    kept = budget.fill(ranking[: data.draw(st.integers(0, len(ranking)))])
    addable = budget.addable(kept)
    assert all(not kept[i] and budget.fits(toggled(kept, i)) for i in addable)
    assert all(kept[i] or not budget.fits(toggled(kept, i)) for i in set(ranking) - set(addable))


@given(tasks())
def test_a_higher_ranked_unit_is_dropped_only_if_it_does_not_fit(task: tuple[Budget, list[int]]) -> None:
    budget, ranking = task
    kept = budget.fill(ranking)
    for place, unit in enumerate(ranking):
        before = tuple(keep and i in ranking[:place] for i, keep in enumerate(kept))
        assert kept[unit] == budget.fits(toggled(before, unit))


@given(st.integers(1, 30), st.data())
def test_a_size_keeps_exactly_that_many_units(num_units: int, data: st.DataObject) -> None:
    size, ranking = data.draw(st.integers(1, num_units)), data.draw(st.permutations(range(num_units)))
    budget = Budget.of_size(size, num_units)
    kept = budget.fill(ranking)
    assert [i for i in range(num_units) if kept[i]] == sorted(ranking[:size])
    assert budget.counts_units
    assert budget.num_units == num_units
    assert budget.typical_size == size
    assert budget.fits(budget.full) == (size == num_units)


def test_the_empty_subnet_never_fits() -> None:
    assert not Budget.of_size(2, 3).fits((False,) * 3)


@given(some_prices(), st.floats(0, 3))
@example(Prices("params", 1e6, (3e-308,)), 3.0)
def test_the_typical_size_is_within_the_network(prices: Prices, share: float) -> None:
    assert 1 <= Budget("b", share * prices.full, prices).typical_size <= len(prices.units)


@given(positive, positive, st.integers(1, 30), st.data())
def test_the_typical_size_counts_units_of_equal_price(
    base: float, price: float, num_units: int, data: st.DataObject
) -> None:
    assume(1e-3 < base / price < 1e3)
    size = data.draw(st.integers(1, num_units))
    prices = Prices("macs", base, (price,) * num_units)
    budget = Budget("b", prices.of(tuple(i < size for i in range(num_units))), prices)
    assert budget.typical_size == size == sum(budget.fill(range(num_units)))


@pytest.mark.parametrize(
    ("quantity", "amount", "text"),
    [
        ("units", 6.0, "6"),
        ("params", 999.0, "999"),
        ("params", 1234.0, "1.234 k"),
        ("params", 1.5e6, "1.500 M"),
        ("macs", 2.5e9, "2.500 G"),
        ("latency", 0.0204, "20.40 ms"),
    ],
)
def test_amounts_are_shown_in_the_syntax_of_budgets(quantity: Quantity, amount: float, text: str) -> None:
    assert shown(quantity, amount) == text


def test_a_shared_price_is_due_once_if_any_of_its_units_is_kept() -> None:
    """Units 0 and 1 share 5, so that unit 2, which costs more than each of them, is the cheapest alone."""
    prices = Prices("params", 10.0, (1.0, 2.0, 4.0), (SharedPrice((0, 1), 5.0),))
    costs = {kept: prices.of(kept) for kept in itertools.product((False, True), repeat=3)}
    assert costs[False, False, False] == 10
    assert costs[True, False, False] == 16
    assert costs[True, True, False] == 18
    assert costs[False, False, True] == prices.cheapest == 14
    assert costs[True, True, True] == prices.full == 22
    assert prices.cheapest_unit == 2
    budget = Budget("params=16", 16.0, prices)
    assert budget.addable((False, False, False)) == [0, 2]
    assert budget.typical_size == 1, "12 for three units, so that 6 are enough for one"
