"""Training for budgets: subnets are nested and within their budgets; sizes are budgets in units."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from supernet.budget import Budget, Prices, SharedPrice, parse_budgets
from supernet.config import Config
from supernet.errors import ConfigError
from supernet.method import Method
from supernet.methods.auto_train_once import AutoTrainOnce
from supernet.methods.dais import DAIS
from supernet.methods.individual import Individual, IndividualOptions
from supernet.methods.iterative_zero_out import IterativeZeroOut
from supernet.methods.on_demand import OnDemand
from supernet.methods.ortho_softmax import OrthoSoftmax
from supernet.methods.simple_top_k import SimpleTopK, SimpleTopKOptions
from supernet.network.cutting import cut
from supernet.network.model_costs import macs
from supernet.network.supernet_ctc import SupernetCTC, num_parameters
from supernet.network.unit_prices import NetworkPrices
from supernet.runs.resolve import resolve
from supernet.training.schedule import Schedule
from supernet.training.step import StepLosses, supernet_of
from supernet.units import Kept
from tests.supernet import tiny
from tests.supernet.tiny import NUM_TOKENS

METHODS: list[type[Method[Any]]] = [SimpleTopK, IterativeZeroOut, OnDemand, OrthoSoftmax, AutoTrainOnce, DAIS]
SHARED = SharedPrice((0, 1, 2), 3.0), SharedPrice((8, 9), 1.0)
PRICES = Prices("macs", 10.0, (4.0, 1.0, 2.0, 5.0) * 4, SHARED)


def config(*budgets: str, **changes: Any) -> Config:
    made = tiny.tiny_config("module").model_dump()
    return Config.model_validate({**made, "sizes": (), "budgets": budgets, **changes})


def make(kls: type[Method[Any]], *budgets: str, **changes: Any) -> Method[Any]:
    return kls(kls.Options(), config(*budgets, **changes), {"macs": PRICES})


def is_within(small: Kept, large: Kept) -> bool:
    return all(b or not a for a, b in zip(small, large, strict=True))


@pytest.mark.parametrize("kls", METHODS)
@given(
    importance=st.lists(st.floats(-10, 10, width=32), min_size=16, max_size=16),
    shares=st.lists(st.integers(20, 100), min_size=1, max_size=5, unique=True),
)
def test_subnets_are_nested_and_within_their_budgets(
    kls: type[Method[Any]], importance: list[float], shares: list[int]
) -> None:
    method = make(kls, *(f"macs={share}%" for share in shares))
    context = tiny.context(importance, method.table)
    chosen = [method.choose(context, budget) for budget in method.budgets]
    for budget, kept in zip(method.budgets, chosen, strict=True):
        assert budget.fits(kept)
        assert budget.addable(kept) == [], "no further unit fits"
    assert all(itertools.starmap(is_within, itertools.pairwise(chosen)))
    if 100 in shares:
        assert chosen[-1] == method.table.full


def test_units_are_added_by_importance_per_price() -> None:
    """Importance per price, by hand: 8 / 4, 1 / 1, 3 / 1, and 0 for the last, the least important."""
    budget = Budget("macs=7", 7.0, Prices("macs", 1.0, (4.0, 1.0, 1.0, 1.0)))
    assert budget.fill_by_worth([5.0, -2.0, 0.0, -3.0]) == (True, True, True, False)
    smaller = Budget("macs=3", 3.0, budget.prices)
    assert smaller.fill_by_worth([5.0, -2.0, 0.0, -3.0]) == (False, True, True, False)


@given(st.lists(st.floats(-5, 15, width=32), min_size=16, max_size=16), st.integers(1, 16))
def test_a_budget_in_units_is_the_top_k(values: list[float], size: int) -> None:
    method = SimpleTopK(SimpleTopKOptions(), tiny.tiny_config("module", sizes=sorted({size, 16})))
    table = method.table
    assert method.choose(tiny.context(values, table), method.budgets[0]) == table.top(values, size)


def test_budgets_in_units_equal_sizes() -> None:
    sizes, budgets = resolve([{"sizes": [6, 9, 12]}]), resolve([{"budgets": ["units=6", "9", "12"]}])
    assert budgets.config == sizes.config
    assert sizes.config.names == ("6", "9", "12")


@pytest.mark.parametrize("granularity", ["module", "component"])
@pytest.mark.parametrize("quantity", ["params", "macs"])
def test_prices_are_those_of_the_network_and_100_percent_keeps_all_of_it(
    quantity: str, granularity: str
) -> None:
    made = config(f"{quantity}=60%", f"{quantity}=100%", granularity=granularity)
    method = SimpleTopK(SimpleTopKOptions(), made, NetworkPrices(made, NUM_TOKENS))
    net = supernet_of(method, NUM_TOKENS).eval()
    steps = Schedule(method, net, 0)
    torch.nn.init.normal_(net.scorer.importance())
    small, large = steps.subnets().values()
    assert large == method.table.full
    assert method.budgets[1].limit == method.budgets[1].prices.full
    one, whole = (cut(net, net.table.subnet(kept)) for kept in (small, large))
    costs = [num_parameters(n) if quantity == "params" else macs(n) for n in (one, whole)]
    assert costs[1] == method.budgets[1].prices.full
    assert 0.4 * costs[1] < costs[0] <= 0.6 * costs[1]
    assert costs[0] == method.budgets[0].prices.of(small)


@pytest.mark.parametrize("kls", METHODS)
def test_a_training_for_budgets_resumes_with_its_subnets(kls: type[Method[Any]]) -> None:
    method = make(kls, "macs=100%", "macs=50%", "macs=75%", train={"num_steps": 8})
    assert [budget.name for budget in method.budgets] == ["macs=50%", "macs=75%", "macs=100%"]
    net = supernet_of(method, NUM_TOKENS)
    schedule = Schedule(method, net, 0)
    losses, data, names = StepLosses(net, schedule), tiny.batch([60] * 12, dtype=torch.float32), set[str]()
    for step in range(8):
        losses.begin(step)
        names |= set(losses.loss(data).by_pass)
    assert names <= {name.removeprefix("ctc/") for name in schedule.loss_names()}
    assert net.masks.shape == (3, 16)
    again = supernet_of(method, NUM_TOKENS)
    again.load_state_dict(net.state_dict())
    assert Schedule(method, again, 0).subnets() == schedule.subnets()


def test_shares_may_name_budgets() -> None:
    shares = {"macs=50%": 0.8, "macs=100%": 0.2}
    method = make(SimpleTopK, *shares, passes={"shares": shares}, train={"num_steps": 100})
    schedule = Schedule(method, supernet_of(method, NUM_TOKENS), 0)
    schedule.begin(99)
    assert {p.budget: p.share for p in schedule.plan(99).passes} == shares


def test_a_budget_trained_alone_has_a_run_of_its_own() -> None:
    made = config("macs=50%", "macs=100%").only("macs=50%")
    method = Individual(IndividualOptions(), made, {"macs": PRICES})
    kept = method.choose(tiny.context([0.0] * 16, method.table), method.budgets[0])
    assert method.budgets[0].fits(kept)
    assert kept[:2] == (True, True), "the first units"


def test_individual_rejects_a_choice_that_does_not_fit() -> None:
    names = ("layers.0.ffn1", "layers.1.ffn1", "layers.2.ffn1", "layers.3.ffn1")
    made = config("macs=40%")
    (problem,) = Individual(IndividualOptions(kept=names), made, {"macs": PRICES}).problems()
    assert problem == "`method.kept` must fit the budget macs=40%, but does not"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"budgets": ["macs=50%", "params=100%"]}, "must limit one quantity"),
        ({"budgets": ["macs=50%", "macs=1G"]}, "must limit one quantity"),
        ({"budgets": []}, "must limit one quantity"),
        ({"budgets": ["macs=50%", "macs=50.0%"]}, "must differ from each other"),
        ({"budgets": ["speed=50%"]}, "must look like"),
        ({"budgets": ["macs=50%"], "sizes": [6]}, "exclude each other"),
        ({"budgets": ["macs=50%"], "model": {"heads": "per-size"}}, "`model.heads` must be 'shared'"),
        ({"budgets": ["macs=50%"], "passes": {"shares": {"6": 1}}}, "must name the budgets [macs=50%]"),
        ({"sizes": []}, "must name at least one size"),
        ({"budgets": ["macs=0.1%"]}, "must leave room for at least one unit"),
        ({"budgets": ["params=1%"], "granularity": "component"}, "must leave room for at least one unit"),
        (
            {"budgets": ["macs=50%"], "granularity": "component", "model": {"ffn_dim": 98}},
            "`model.ffn_dim` must be a multiple of `model.ffn_chunks` (4), but is 98",
        ),
        ({"budgets": ["units=200%"]}, "must lie between 1 and 12"),
    ],
)
def test_impossible_budgets_are_errors(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve([settings])
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_all_problems_of_components_are_reported_at_once() -> None:
    model = {"num_layers": 2, "ffn_dim": 98}
    with pytest.raises(ConfigError) as error:
        resolve([{"granularity": "component", "sizes": [27], "model": model}])
    sizes, chunks = error.value.problems
    assert "`sizes` must be at most 26, the components of this network" in sizes
    assert "`model.ffn_dim` must be a multiple" in chunks


@pytest.mark.parametrize(
    ("settings", "others"),
    [
        ({"budgets": ["units=200%"]}, ["must lie between 1 and 12"]),
        (
            {"granularity": "component", "sizes": [41], "model": {"num_layers": 2, "ffn_chunks": 7}},
            ["`sizes` must be at most 40, the components", "`model.ffn_dim` must be a multiple"],
        ),
        ({"method": "individual", "budgets": ["macs=50%", "macs=1%"]}, ["must "]),
        ({"sizes": [2, 4]}, []),
    ],
)
def test_a_wrong_number_of_heads_hides_no_other_problem(settings: dict[str, Any], others: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        resolve([settings, {"model": {"num_heads": 5}}])
    first, *found = error.value.problems
    assert "`model.dim` must be even and a multiple of `model.num_heads` (5)" in first
    assert len(found) == len(others)
    assert all(words in line for words, line in zip(others, found, strict=True))


def test_the_last_of_sizes_and_budgets_wins() -> None:
    first = resolve([{"sizes": [2, 4]}, {"budgets": ["macs=50%", "macs=100%"]}]).config
    assert (first.sizes, first.names, first.num_layers) == ((), ("macs=50%", "macs=100%"), 12)
    last = resolve([{"budgets": ["macs=50%"]}, {"sizes": [2, 4]}]).config
    assert (last.sizes, last.budgets) == ((2, 4), None)
    assert resolve([first.model_dump(mode="json")]).config == first


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("macs=50%,75%, 100%", ["macs=50%", "macs=75%", "macs=100%"]),
        ("macs=50%,params=1M", ["macs=50%", "params=1M"]),
        ("6,9", ["6", "9"]),
        ("", []),
    ],
)
def test_a_quantity_applies_until_the_next_one(text: str, found: list[str]) -> None:
    assert parse_budgets(text) == found


def test_models_cut_for_a_budget_are_ordinary() -> None:
    made = config("macs=50%", "macs=100%")
    net = SupernetCTC(made, NUM_TOKENS).eval()
    small = cut(net, net.table.subnet(net.table.first(5)))
    assert small.config.names == ("5",)


def test_sizes_trained_alone_have_networks_and_prices_of_their_own() -> None:
    """Each run has its own unit table and as many prices as units."""
    kept = [f"layers.{i}" for i in range(3)]
    resolved = resolve([{"method": "individual", "sizes": [2, 4]}])
    for size, one in ((2, resolved.only("2")), (4, resolved.only("4"))):
        assert len(one.method.table) == len(one.method.budgets[0].prices.units) == size
        assert len(one.method.prices["params"].units) == size
    with pytest.raises(ConfigError, match="must name 2 units, the size, but names 3") as error:
        resolve([{"method": {"name": "individual", "kept": kept}, "sizes": [2, 4]}])
    assert len(error.value.problems) == 2
