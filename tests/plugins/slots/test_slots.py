"""A supernet with a head other than CTC; run where the package is installed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from supernet.errors import UserError
from supernet.network.cutting import cut
from supernet.network.lanes import Lane
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.plan import Pass, Plan
from supernet.training.step import step_of
from tests.supernet import tiny
from tests.supernet.network.test_laws import assert_equal
from tests.supernet.tiny import recognizer, run_lanes, tiny_config
from tests.supernet.training.test_waiting import counts

FRAMES = [60, 33, 5, 47]
HEAD = {"head": {"name": "slots", "count": 5}}


@pytest.fixture(params=["shared", "per-size"])
def net(request: pytest.FixtureRequest) -> SupernetCTC:
    return recognizer(tiny_config(sizes=(2, 4), model={**HEAD, "heads": request.param}))


def loss_by_hand(net: SupernetCTC, size: int, x_SD: Tensor, targets: list[int]) -> Tensor:
    """The sum of the cross-entropies of an utterance's slots."""
    head: Any = net.head_of(size)
    total = x_SD.new_zeros(())
    for slot, query_D in enumerate(head.queries):
        weights_S = torch.softmax(head.keys(x_SD) @ query_D, 0)
        logits_V = head.tokens(weights_S @ x_SD)
        total = total - logits_V.log_softmax(-1)[targets[slot] if slot < len(targets) else 0]
    return total


def test_losses_of_a_step_are_those_of_each_reading(net: SupernetCTC) -> None:
    data, small = tiny.batch(FRAMES), net.table.first(2)
    passes = (Pass("4", net.table.full, 1.0), Pass("2", small, 0.5))
    found = net(data, step_of(Plan(passes), len(data)))
    expected = data.features_BTF.new_zeros(())
    for size, weight, kept in ((4, 1.0, net.table.full), (2, 0.5, small)):
        lane = Lane(range(4), kept, positions=net.reader.positions_for(kept))
        (readings,) = run_lanes(net, data, [lane])
        share = 0.5 if len(readings) > 1 else 0.0
        for position, x_BSD in readings.items():
            w = 1 - share if position == FINAL else share / (len(readings) - 1)
            for row, length in enumerate(data.stream_lengths):
                targets = data.targets_BL[row, : data.num_targets[row]].tolist()
                expected = expected + weight * w * loss_by_hand(net, size, x_BSD[row, :length], targets)
    assert_equal(found.total, expected)
    assert found.total.requires_grad


def test_a_subnet_and_its_cut_model_decode_the_same(net: SupernetCTC) -> None:
    data, kept = tiny.batch(FRAMES), net.table.first(2)
    (scored,) = net.score_all(data, [kept])
    small = cut(net, net.table.subnet(kept))
    (again,) = small.score_all(data, [small.table.full])
    assert_equal(again.losses_B, scored.losses_B)
    assert again.decode() == scored.decode()
    for row, frames in enumerate(FRAMES):
        (alone,) = net.score_all(tiny.part(data, range(row, row + 1)), [kept])
        assert_equal(alone.losses_B[0], scored.losses_B[row])
        assert alone.decode() == [scored.decode()[row]], frames


def test_it_learns_a_batch() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = SupernetCTC(tiny_config(sizes=(2, 4), model={**HEAD, "dropout": 0.0}), tiny.NUM_TOKENS)
    data = tiny.batch([60, 50, 40, 30], dtype=torch.float32)
    passes = (Pass("4", net.table.full), Pass("2", net.table.first(2)))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        net(data, step_of(Plan(passes), len(data))).total.div(100).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
    targets = [data.targets_BL[row, :n].tolist() for row, n in enumerate(data.num_targets)]
    for scored in net.eval().score_all(data, [net.table.full, net.table.first(2)]):
        assert scored.decode() == targets


def test_operations_that_need_a_framewise_head_are_errors(net: SupernetCTC) -> None:
    with pytest.raises(UserError, match=r"A beam search must have .* such as 'ctc', but .* has 'slots'"):
        net.require_framewise("A beam search")
    with pytest.raises(ValueError, match=r"`model\.self_conditioning` must be false with a `model\.head`"):
        tiny_config(model={**HEAD, "self_conditioning": True})


def test_no_step_waits_for_a_gpu() -> None:
    config = tiny_config(sizes=(2, 4), model=HEAD, train={"num_steps": 40})
    assert min(found.operations for found in counts("simple-top-k", config).values()) > 100
