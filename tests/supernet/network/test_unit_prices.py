"""The prices of units, whose sum over a subnet is the cost of the cut model."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator

import pytest
import torch

from supernet.network.cutting import cut
from supernet.network.model_costs import macs
from supernet.network.supernet_ctc import SupernetCTC, num_parameters
from supernet.network.unit_prices import _Times, unit_latencies, unit_macs, unit_parameters
from supernet.units import Kept, LayerType
from tests.supernet.tiny import NUM_TOKENS, tiny_config

SECONDS = 0.6


def net_of(granularity: str, layer_type: LayerType, positions: str, extra: str) -> SupernetCTC:
    more = {"self_conditioning": True} if extra == "conditioned" else {"heads": extra}
    config = tiny_config(granularity, layer_type, model={"positions": positions, **more})
    return SupernetCTC(config, NUM_TOKENS).eval()


NETS = [
    *itertools.product(
        ["layer", "module"],
        ["conformer", "transformer"],
        ["relative", "sinusoidal"],
        ["shared", "per-size", "conditioned"],
    ),
    ("component", "conformer", "relative", "per-size"),
    ("component", "transformer", "sinusoidal", "shared"),
]


@pytest.fixture(params=NETS, ids="-".join)
def net(request: pytest.FixtureRequest) -> SupernetCTC:
    """Each combination of granularity, layer, positions and heads; some of those of components."""
    return net_of(*request.param)


def subsets(num_units: int, count: int) -> Iterator[Kept]:
    """Every unit alone, the full network, and some random subnets."""
    rng = random.Random(num_units)
    yield from (tuple(i == unit for i in range(num_units)) for unit in range(num_units))
    yield (True,) * num_units
    for size in (rng.randint(1, num_units) for _ in range(count)):
        chosen = rng.sample(range(num_units), size)
        yield tuple(i in chosen for i in range(num_units))


def test_parameters_add_up_to_those_of_the_cut_model(net: SupernetCTC) -> None:
    prices = unit_parameters(net)
    for kept in subsets(len(net.table), count=8):
        assert prices.of(kept) == num_parameters(cut(net, net.table.subnet(kept)))


def test_subnets_of_published_blocks_cost_the_same_as_their_cut_models() -> None:
    model = {"positions": "none", "heads": "per-size", "convolution_bias": True}
    net = SupernetCTC(tiny_config("module", "conformer-conv-first", model=model), NUM_TOKENS).eval()
    prices, counts = unit_parameters(net), unit_macs(net, SECONDS)
    for kept in subsets(len(net.table), count=2):
        small = cut(net, net.table.subnet(kept))
        assert prices.of(kept) == num_parameters(small)
        assert counts.of(kept) == macs(small, SECONDS)


def test_units_of_a_cut_model_keep_their_prices() -> None:
    net = net_of("module", "conformer", "relative", "per-size")
    kept = tuple(i % 3 != 1 for i in range(len(net.table)))
    prices, small = unit_parameters(net), unit_parameters(cut(net, net.table.subnet(kept)))
    assert small.base == prices.base
    assert small.units == tuple(itertools.compress(prices.units, kept))


def test_multiply_accumulates_add_up_to_those_of_the_cut_model(net: SupernetCTC) -> None:
    prices = unit_macs(net, SECONDS)
    assert prices.full == macs(net, SECONDS)
    assert prices.base == macs(net, SECONDS, (False,) * len(net.table)) > 0
    assert min(prices.units) > 0
    for kept in random.Random(0).sample(list(subsets(len(net.table), count=8)), 4):
        assert prices.of(kept) == macs(cut(net, net.table.subnet(kept)), SECONDS)


@pytest.mark.parametrize("granularity", ["layer", "module"])
@pytest.mark.parametrize("extra", ["shared", "per-size", "conditioned"])
def test_latencies_add_up_to_the_whole_run(
    granularity: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock advances by a second each time it is read: twice for each unit, twice for the run."""
    ticks = itertools.count()
    monkeypatch.setattr("supernet.network.unit_prices._Stopwatch.now", lambda watch: float(next(ticks)))
    net = net_of(granularity, "conformer", "relative", extra)
    prices = unit_latencies(net, SECONDS, repeats=2)
    assert prices.units == (1.0,) * len(net.table)
    assert prices.full == 2 * len(net.table) + 1


def test_the_parts_of_a_module_share_what_does_not_shrink_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timed together: 10 s for the two chunks, 10 s for the two heads; the first alone: 7 s and 4 s."""
    net = SupernetCTC(tiny_config("component", "transformer", model={"num_layers": 1}), NUM_TOKENS).eval()
    times = {net.table.full: _Times(3.0, [10.0, 10.0]), (True, False) * 2: _Times(2.0, [7.0, 4.0])}
    monkeypatch.setattr("supernet.network.unit_prices._run_timed", lambda net, batch, kept: times[kept])
    prices = unit_latencies(net, SECONDS, repeats=1)
    # A second head costs 3, which leaves 4 to share; a chunk costs no more than half of the whole.
    assert (prices.base, prices.units) == (3.0, (3.0, 3.0, 5.0, 5.0))
    assert [(one.units, one.price) for one in prices.shared] == [((0, 1), 4.0), ((2, 3), 0.0)]
    assert prices.of((True, False, False, False)) == 3 + 4 + 3
    assert prices.full == 23


@pytest.mark.parametrize("granularity", ["module", "component"])
def test_latencies_are_measured(granularity: str) -> None:
    prices = unit_latencies(net_of(granularity, "conformer", "relative", "shared"), SECONDS, repeats=1)
    assert all(0 <= price < math.inf for price in (prices.base, *prices.units))
    assert prices.full > prices.cheapest > prices.base > 0


def test_timing_reports_its_progress() -> None:
    said: list[tuple[str, int, int]] = []
    net = net_of("layer", "transformer", "sinusoidal", "shared")
    unit_latencies(net, SECONDS, repeats=2, report=lambda *what: said.append(what))
    assert said == [("timing units", i, 5) for i in range(1, 6)]


def test_computing_prices_leaves_the_network_unchanged() -> None:
    net = net_of("module", "conformer", "relative", "shared")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    unit_parameters(net)
    unit_macs(net, SECONDS)
    unit_latencies(net, SECONDS, repeats=1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
