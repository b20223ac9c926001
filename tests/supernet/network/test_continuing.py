"""A subnet that continues from the stream of a smaller one equals a run from the start, and costs what is
missing.
"""

from __future__ import annotations

import random

import pytest
import torch

from supernet.network.continuing import Continuing, num_shared_layers
from supernet.network.model_costs import macs, stage_macs
from supernet.network.supernet_ctc import SupernetCTC
from supernet.units import Kept
from tests.supernet import tiny

FRAMES = [90, 41, 64, 25]


@pytest.mark.parametrize("granularity", ["layer", "module"])
@pytest.mark.parametrize("condition", [False, True])
def test_every_stage_equals_its_subnet_run_alone(granularity: str, condition: bool) -> None:
    """For random subnets, prefix-nested or not, of which each stage runs fewer of the rows."""
    settings = {"self_conditioning": condition, "intermediate": [2]} if condition else {}
    net = tiny.recognizer(tiny.tiny_config(granularity, model=settings))
    data, count, rng = tiny.batch(FRAMES), len(net.table), random.Random(0)
    for case in range(12):
        subnets = sorted(chain(count, rng, nested=case % 2 == 0), key=sum)
        check(net, data.features_BTF, subnets, rng)


def chain(count: int, rng: random.Random, nested: bool) -> list[Kept]:
    if nested:
        return [tuple(i < size for i in range(count)) for size in rng.sample(range(1, count + 1), 3)]
    shared = rng.randrange(count)
    return [tuple(i < shared or rng.random() < 0.5 or i == count - 1 for i in range(count)) for _ in range(4)]


def check(net: SupernetCTC, features: torch.Tensor, subnets: list[Kept], rng: random.Random) -> None:
    batch, rows = Continuing.begin(net, features, FRAMES, subnets), list(range(len(FRAMES)))
    for i, kept in enumerate(subnets):
        found_BSV, batch = batch.run(i)
        whole_BSV = net.log_probs(features, FRAMES, kept)
        for j, row in enumerate(rows):
            n = batch.lengths[j]
            assert n == net.input.num_stream_frames(FRAMES[row])
            assert (found_BSV[j, :n] - whole_BSV[row, :n]).abs().max() < 1e-12
        chosen = sorted(rng.sample(range(len(rows)), rng.randint(1, len(rows))))
        batch, rows = batch.rows(chosen), [rows[j] for j in chosen]


def test_shared_layers_are_those_before_the_first_difference() -> None:
    table = tiny.units_of(4, "module")
    full = table.full
    assert num_shared_layers(table, 4, full, full) == 4
    without_last_of_layer_3 = tuple(i != 11 for i in range(16))
    assert num_shared_layers(table, 4, full, without_last_of_layer_3) == 2


def test_going_on_from_a_prefix_costs_the_missing_layers_and_the_head() -> None:
    net = tiny.recognizer(tiny.tiny_config()).float()
    two, four = net.table.first(2), net.table.full
    first, second = stage_macs(net, [two, four], seconds=1.0)
    layer = (macs(net, 1.0, four) - macs(net, 1.0, two)) / 2
    head = net.input.num_stream_frames(100) * net.config.model.dim * tiny.NUM_TOKENS
    assert first == macs(net, 1.0, two)
    assert second == 2 * layer + head
    (alone,) = stage_macs(net, [four], seconds=1.0)
    assert alone == macs(net, 1.0, four)


def test_going_on_from_another_subnet_costs_what_follows_the_last_shared_layer() -> None:
    net = tiny.recognizer(tiny.tiny_config()).float()
    small, full = (True, False, False, True), net.table.full
    _, second = stage_macs(net, [small, full], seconds=1.0)
    layer = (macs(net, 1.0, full) - macs(net, 1.0, net.table.first(2))) / 2
    assert second == 3 * layer + net.input.num_stream_frames(100) * net.config.model.dim * tiny.NUM_TOKENS
