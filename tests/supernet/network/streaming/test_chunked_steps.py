"""Training steps that mix sizes and chunks: each utterance has its own, whatever process runs it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import torch

from supernet.network.ctc import ctc_loss
from supernet.network.lanes import Lane
from supernet.network.streaming.chunking import step_chunkings
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.plan import Draw, Pass, Plan, Step
from supernet.training.division import part_of
from supernet.training.step import step_of
from tests.supernet import tiny
from tests.supernet.tiny import recognizer, tiny_config
from tests.supernet.training.test_laws_of_steps import rows_run

FRAMES = [100, 88, 60, 77, 90, 52, 64]


def net() -> SupernetCTC:
    model = {"streaming": True, "chunk_frames": (2, 6), "intermediate": ()}
    return recognizer(tiny_config(model=model))


def plan(of: SupernetCTC) -> Plan:
    small, full = of.table.first(2), of.table.full
    return Plan((Pass("4", full, share=0.5), Pass("2", small, share=0.5)))


def test_a_step_is_the_sum_of_its_utterances_each_with_its_size_and_its_chunks() -> None:
    network, data = net(), tiny.batch(FRAMES)
    step = step_of(plan(network), len(data), Draw(seed=3, step=8))
    chunkings = step_chunkings(network.config.model, step, len(data))
    assert chunkings is not None
    assert len({*chunkings}) > 2
    total = torch.zeros((), dtype=torch.float64)
    for pass_, rows in zip(step.plan.passes, step.rows, strict=True):
        for row in rows:
            one = tiny.part(data, range(row, row + 1))
            x_BSD, lengths = network.embed(one.features_BTF, one.num_frames)
            lane = Lane(range(1), pass_.kept)
            (reading,) = network._encode(x_BSD, lengths, [lane], [chunkings[row]])
            total = total + ctc_loss(network.read(reading[FINAL], 4), lengths, one, range(1)).sum()
    torch.testing.assert_close(network(data, step).total, total, atol=1e-10, rtol=1e-12)
    whole = SupernetCTC(tiny_config(model={"intermediate": ()}), tiny.NUM_TOKENS).double().eval()
    whole.load_state_dict(network.state_dict(), strict=False)
    assert not torch.allclose(whole(data, step).total, total)


def test_parts_of_a_step_draw_the_chunks_of_the_whole() -> None:
    network, data = net(), tiny.batch(FRAMES)
    step = step_of(plan(network), len(data), Draw(seed=1, step=2))
    whole = network(data, step).total
    parts = [(0, 3, 5), (1, 2, 4, 6)]
    found = [network(part_of(data, rows), replace(step, part=rows)).total for rows in parts]
    torch.testing.assert_close(sum(found), whole, atol=1e-10, rtol=1e-12)


def test_chunks_are_drawn_from_the_stream_of_the_step() -> None:
    model, full = net().config.model.model_copy(update={"chunk_frames": (8, 32)}), (True,) * 4
    steps = [Step(Plan((Pass("4", full),)), (range(40),), Draw(seed=7, step=i)) for i in range(60)]
    drawn = [step_chunkings(model, step, 40) for step in steps]
    assert drawn == [step_chunkings(model, step, 40) for step in steps]
    assert drawn[0] != drawn[1]
    rows = [row for found in drawn if found is not None for row in found]
    kinds = Counter("whole" if row is None else "all" if row.left is None else "some" for row in rows)
    assert abs(kinds["whole"] / len(rows) - 0.5) < 0.05
    assert abs(kinds["all"] / len(rows) - 0.25) < 0.05
    chunks = [row for row in rows if row is not None]
    assert {row.frames for row in chunks} == set(range(8, 33))
    assert {row.left for row in chunks} == {None, *range(1, 9)}
    assert step_chunkings(tiny_config().model, steps[0], 40) is None
    for share, expected in ((0.0, 0), (1.0, 40)):
        found = step_chunkings(model.model_copy(update={"whole_share": share}), steps[0], 40)
        assert found is not None
        assert found.count(None) == expected


def test_passes_of_nested_sizes_share_their_prefix_also_in_chunks() -> None:
    network = net()
    nested = [network.table.first(count) for count in (4, 3, 2)]
    passes = Plan(tuple(Pass(str(sum(kept)), kept) for kept in nested))
    assert rows_run(network, passes, 5) == {0: [5], 1: [5], 2: [5], 3: [5]}
