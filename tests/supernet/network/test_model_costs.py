"""Parameters and multiply-accumulates against counts by hand; measured times."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from supernet.network.cutting import cut
from supernet.network.model_costs import latency, macs, real_time_factor
from supernet.network.supernet_ctc import SupernetCTC, num_parameters
from supernet.units import LayerType
from tests.supernet import tiny
from tests.supernet.tiny import NUM_TOKENS, tiny_config

SECONDS = 0.6
FRONTEND = (2 * 9 + 2) + (2 * 2 * 9 + 2) + (2 * 19 * 16 + 16) + 2 * 16
HEAD = 16 * NUM_TOKENS + NUM_TOKENS
FFN = 16 * 32 + 32 + 32 * 16 + 16
ATTENTION = 4 * (16 * 16 + 16)
RELATIVE = 2 * 16 + 16 * 16
CONVOLUTION = 16 * 32 + 3 * 16 + 2 * 16 + 16 * 16
NORM = 2 * 16
CONFORMER = 2 * FFN + ATTENTION + RELATIVE + CONVOLUTION + 5 * NORM


def test_parameters_of_a_conformer_equal_hand_counted_ones() -> None:
    net = SupernetCTC(tiny_config(), NUM_TOKENS)
    assert num_parameters(net) == FRONTEND + 4 * CONFORMER + HEAD


def test_parameters_of_a_transformer_equal_hand_counted_ones() -> None:
    net = SupernetCTC(tiny_config("layer", "transformer", model={"positions": "sinusoidal"}), NUM_TOKENS)
    assert num_parameters(net) == FRONTEND + 4 * (FFN + ATTENTION + 2 * NORM) + NORM + HEAD


def test_parameters_of_a_cut_model_equal_hand_counted_ones() -> None:
    net = SupernetCTC(tiny_config("module", model={"heads": "per-size"}), NUM_TOKENS)
    kept = [unit.name.endswith((".conv", "0.ffn2")) for unit in net.table.units]
    small = cut(net, net.table.subnet(kept))
    # Each branch includes its norm; the four final norms belong to no unit.
    assert num_parameters(small) == FRONTEND + 4 * (CONVOLUTION + NORM) + (FFN + NORM) + 4 * NORM + HEAD


@pytest.mark.parametrize("granularity", ["layer", "module"])
@pytest.mark.parametrize("layer_type", ["conformer", "transformer"])
@pytest.mark.parametrize("positions", ["relative", "sinusoidal"])
def test_multiply_accumulates_equal_hand_counted_ones(
    granularity: str, layer_type: LayerType, positions: str
) -> None:
    net = SupernetCTC(tiny_config(granularity, layer_type, model={"positions": positions}), NUM_TOKENS).eval()
    # 60 frames of 80 bands become 29 of 39, and then 14 of 19.
    frontend = 29 * 39 * (2 * 9) + 14 * 19 * (2 * 2 * 9) + 14 * (38 * 16)
    feed_forward = 14 * (16 * 32 + 32 * 16)
    attention = 14 * (4 * 16 * 16) + 2 * (14 * 14 * 16)  # queries with keys, weights with values
    if positions == "relative":
        attention += 27 * (16 * 16) + 14 * 27 * 16  # 27 distances: projected, and compared with queries
    convolution = 14 * (16 * 32 + 3 * 16 + 16 * 16)
    layers = {
        "conformer": 2 * feed_forward + attention + convolution,
        "transformer": feed_forward + attention,
    }
    assert macs(net, SECONDS) == frontend + 4 * layers[layer_type] + 14 * (16 * NUM_TOKENS)


def test_a_cut_layer_saves_exactly_its_share() -> None:
    net = SupernetCTC(tiny_config(), NUM_TOKENS).eval()
    by_size = [macs(cut(net, net.table.subnet(net.table.first(size))), SECONDS) for size in (1, 2, 3, 4)]
    (saved,) = {b - a for a, b in itertools.pairwise(by_size)}
    assert saved > 0
    assert by_size[3] == macs(net, SECONDS)


def test_costs_grow_with_the_audio() -> None:
    net = SupernetCTC(tiny_config(), NUM_TOKENS).eval()
    assert 2 * macs(net, 5.0) < macs(net) == macs(net, 10.0), "attention grows with the square"


def test_the_real_time_factor_is_a_positive_number() -> None:
    net = SupernetCTC(tiny_config(), NUM_TOKENS).eval()
    factor, _ = real_time_factor(net, [tiny.batch([60, 33], dtype=torch.float32)], repeats=1)
    assert 0 < factor < math.inf


def test_the_latency_of_a_cut_model_is_measured() -> None:
    net = SupernetCTC(tiny_config("module", "transformer", model={"positions": "sinusoidal"}), NUM_TOKENS)
    small = cut(net.eval(), net.table.subnet(net.table.first(1)))
    assert 0 < latency(small, SECONDS, repeats=1).best < math.inf


def test_warm_up_runs_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, clock = iter([9.0, 9.0, 9.0, 1.0, 5.0, 2.0]), [0.0]

    def work(*_: object) -> None:
        clock[0] += next(seconds)

    monkeypatch.setattr("supernet.network.model_costs._run", work)
    monkeypatch.setattr("supernet.system.timing.time.perf_counter", lambda: clock[0])
    net = SupernetCTC(tiny_config(), NUM_TOKENS).eval()
    assert latency(net, SECONDS, repeats=3).best == 1.0
