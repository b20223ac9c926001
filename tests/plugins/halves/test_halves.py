"""The laws of the supernet hold for half feed-forwards; run where the package is installed."""

from __future__ import annotations

import itertools

import pytest
import torch
from halves import Halves

from supernet.config import Config
from supernet.export.graph import Graph
from supernet.network.cutting import cut
from supernet.network.lanes import Lane
from supernet.network.model_costs import macs
from supernet.network.supernet_ctc import SupernetCTC, num_parameters
from supernet.network.unit_prices import unit_macs, unit_parameters
from supernet.network.walk import FINAL
from supernet.units import Kept, Module
from tests.supernet import tiny
from tests.supernet.network.test_laws import assert_equal, exact_attention
from tests.supernet.tiny import output, recognizer, run_lanes, tiny_config, valid
from tests.supernet.training.test_waiting import counts

__all__ = ["exact_attention"]  # a fixture used here, too

FRAMES = [60, 33, 5, 47]
ALL = range(len(FRAMES))
SETTINGS = {
    "conformer": tiny_config("halves", sizes=(6, 12), model={"num_layers": 2}),
    "transformer": tiny_config("halves", "transformer", sizes=(3, 6), model={"num_layers": 2}),
}


@pytest.fixture(params=list(SETTINGS.values()), ids=list(SETTINGS))
def net(request: pytest.FixtureRequest) -> SupernetCTC:
    return recognizer(request.param)


def masks(net: SupernetCTC) -> list[Kept]:
    """All units but one, for each unit, and some subnets with either half of every module."""
    count = len(net.table)
    without = [tuple(i != u for i in range(count)) for u in range(count)]
    return [*without, *(tuple(i % 3 != rest for i in range(count)) for rest in range(3))]


def test_the_halves_of_a_module_are_adjacent() -> None:
    units = Halves().units(3, [Module("ffn1", "feed-forward", 32), Module("conv", "convolution")])
    assert [unit.name for unit in units] == ["layers.3.ffn1.0", "layers.3.ffn1.1", "layers.3.conv"]
    assert [unit.part for unit in units] == [0, 1, None]


def test_all_units_together_equal_the_plain_network(net: SupernetCTC) -> None:
    config = net.config
    same: Config = config.model_copy(update={"granularity": "module", "sizes": (1,)})
    plain = recognizer(same)
    ours = {name: x for name, x in net.state_dict().items() if name.startswith(("frontend", "enc", "heads"))}
    plain.load_state_dict(ours, strict=False)
    data = tiny.batch(FRAMES)
    expected = output(plain, data, Lane(ALL, plain.table.full))
    assert_equal(output(net, data, Lane(ALL, net.table.full)), expected)
    assert_equal(output(net, data, Lane(ALL, net.table.full, tiny.gates([1.0] * len(net.table)))), expected)


def test_a_gate_of_zero_equals_skipping_the_unit(net: SupernetCTC) -> None:
    data, full = tiny.batch(FRAMES), output(net, tiny.batch(FRAMES), Lane(ALL, net.table.full))
    for kept in masks(net):
        skipped = output(net, data, Lane(ALL, kept))
        assert_equal(output(net, data, Lane(ALL, net.table.full, tiny.gates(kept))), skipped)
        assert not torch.allclose(skipped, full)


def test_a_cut_model_equals_its_subnet_and_its_exported_graph(net: SupernetCTC) -> None:
    data = tiny.batch(FRAMES)
    for kept in masks(net):
        expected = net.log_probs(data.features_BTF, data.num_frames, kept)
        small = cut(net, net.table.subnet(kept))
        assert_equal(small.log_probs(data.features_BTF, data.num_frames, small.table.full), expected)
        log_probs_BSV, lengths_B = Graph(small)(data.features_BTF.float(), torch.tensor(data.num_frames))
        for row, length in enumerate(lengths_B.tolist()):
            torch.testing.assert_close(
                log_probs_BSV[row, :length].double(), expected[row, :length], atol=1e-4, rtol=1e-4
            )


def test_a_subnet_of_a_cut_model_equals_that_of_the_supernet() -> None:
    net, data = recognizer(SETTINGS["conformer"]), tiny.batch(FRAMES)
    small = cut(net, net.table.subnet(tuple(i not in (0, 7) for i in range(12))))
    for kept in itertools.islice(itertools.product((False, True), repeat=10), 1, None, 37):
        names = {unit.name for unit, keep in zip(small.table.units, kept, strict=True) if keep}
        same = tuple(unit.name in names for unit in net.table.units)
        expected = net.log_probs(data.features_BTF, data.num_frames, same)
        assert_equal(small.log_probs(data.features_BTF, data.num_frames, kept), expected)


def test_rows_with_different_halves_run_in_one_call(net: SupernetCTC) -> None:
    data, count = tiny.batch(FRAMES), len(net.table)
    gates = tiny.gates([0.25 + 0.5 * i / count for i in range(count)])
    drops, scale = {0: frozenset({0, 2}), 1: frozenset({1})}, {0: 2.0, 1: 1.25}
    some = masks(net)[-3:]
    lanes = [
        Lane(range(1), some[0]),
        Lane(range(1, 3), some[1]),
        Lane(range(3, 4), some[2]),
        Lane(ALL, net.table.full, gates),
        Lane(ALL, net.table.full, None, drops, scale),
        Lane(ALL, some[0], gates, drops, scale),
    ]
    together = [reading[FINAL] for reading in run_lanes(net, data, lanes)]
    alone = [run_lanes(net, data, [lane])[0][FINAL] for lane in lanes]
    sums = [torch.zeros((), dtype=torch.float64)] * 2
    for lane, a_NSD, b_NSD in zip(lanes, together, alone, strict=True):
        a_NSD, b_NSD = valid(net, data, lane, a_NSD), valid(net, data, lane, b_NSD)
        assert_equal(a_NSD, b_NSD)
        sums = [total + x.square().mean() for total, x in zip(sums, (a_NSD, b_NSD), strict=True)]
    actual, expected = (tiny.gradients(net, total) for total in sums)
    for name, gradient in expected.items():
        assert_equal(actual[name], gradient)


def test_half_a_feed_forward_costs_half() -> None:
    net = SupernetCTC(SETTINGS["conformer"], 6).eval()
    by_unit = unit_macs(net, 0.6).units
    assert by_unit[0] == by_unit[1] == 14 * (16 * 32 + 32 * 16) / 2
    kept = tuple(i not in (0, 7) for i in range(12))
    small = cut(net, net.table.subnet(kept))
    assert macs(small, 0.6) == macs(net, 0.6, kept) == macs(net, 0.6) - by_unit[0] - by_unit[7]
    prices = unit_parameters(net)
    assert prices.full == num_parameters(net)
    assert prices.of(kept) == num_parameters(small)
    assert num_parameters(net) - num_parameters(small) == 2 * (16 * 16 + 16 + 16 * 16)


def test_no_step_waits_for_a_gpu() -> None:
    model = {"num_layers": 2, "dropout": 0.1, "ffn_dropout": 0.1}
    config = tiny_config("halves", sizes=(6, 12), model=model, train={"num_steps": 40})
    for method in ("simple-top-k", "on-demand"):
        assert min(found.operations for found in counts(method, config).values()) > 100
