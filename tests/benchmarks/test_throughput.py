"""Throughput on a GPU: utterances per second in training, real-time factors, idle time, and new shapes.

Run: ``python -m pytest tests/benchmarks/test_throughput.py``; without a GPU, the preset `tiny` is used.
Utterances are 10 s of random features; precision is float32 unless given.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from supernet.methods.simple_top_k import SimpleTopK, SimpleTopKOptions
from supernet.network.cutting import cut
from supernet.network.supernet_ctc import SupernetCTC
from supernet.plan import Pass, Plan
from supernet.runs.resolve import resolve
from supernet.system.devices import autocast
from supernet.training.schedule import Schedule
from supernet.training.step import step_of
from tests.benchmarks.conftest import NO_GPU, Ratio, seconds
from tests.benchmarks.test_step import NUM_TOKENS, make_batch

SIZES = (6, 9, 12)
FRAMES = 1000
UTTERANCES = {"cpu": 6, "cuda": 32}
CASES = [
    ("cpu", "tiny", "float32"),
    *(
        pytest.param("cuda", preset, precision, marks=NO_GPU)
        for preset in ("tiny", "small", "base")
        for precision in ("float32", "bfloat16")
    ),
]
Work = Callable[[], object]


class Training:
    """Steps of joint training, implemented in several ways."""

    def __init__(self, device: str, preset: str, precision: str, sharing: str) -> None:
        settings = {"sizes": SIZES, "passes": {"sharing": sharing}, "granularity": "layer"}
        settings["train"] = {"precision": precision}
        config = resolve([{"preset": preset}, settings]).config
        torch.manual_seed(0)
        self.net = SupernetCTC(config, NUM_TOKENS).to(device)
        method = SimpleTopK(SimpleTopKOptions(), config)
        self._schedule = Schedule(method, self.net, seed=0)
        self.batch = make_batch(UTTERANCES[device], FRAMES, torch.device(device))

    def plan(self) -> Plan:
        number = self._schedule.num_steps - 1
        self._schedule.begin(number)
        return self._schedule.plan(number)

    def step(self, *plans: Plan, wait: bool = False) -> None:
        """Run ``plans`` forward and backward one after another; with ``wait``, read each loss on the host."""
        for plan in plans:
            loss = self.net(self.batch, step_of(plan, len(self.batch)))
            (loss.total / loss.num_frames).backward()
            if wait:
                float(loss.total)
        self.net.zero_grad(set_to_none=True)


@pytest.mark.parametrize(("where", "preset", "precision"), CASES)
@pytest.mark.parametrize("way", ["joint", "passes one after another"])
def test_training(way: str, where: str, preset: str, precision: str, ratio: Ratio) -> None:
    here = Training(where, preset, precision, "rows" if way == "joint" else "batch")
    full = Plan((Pass(str(max(SIZES)), here.net.table.full),))
    plan = here.plan()
    one_by_one = [Plan((replace(each, share=None),)) for each in plan.passes]
    work = partial(here.step, plan) if way == "joint" else partial(here.step, *one_by_one, wait=True)
    found = ratio(work, lambda: here.step(full), 5, what="full-network steps")
    ratio.note(len(here.batch) / ratio.benchmark.stats.stats.median, "utterances a second")
    assert found > 0


@pytest.mark.parametrize(("where", "preset", "precision"), CASES)
@pytest.mark.parametrize("batch", [1, 32])
@pytest.mark.parametrize("size", SIZES)
def test_recognizing(size: int, batch: int, where: str, preset: str, precision: str, ratio: Ratio) -> None:
    torch.manual_seed(0)
    net = SupernetCTC(resolve([{"preset": preset}]).config, NUM_TOKENS).to(where).eval()
    small = cut(net, net.table.subnet(net.table.first(size)))
    features = torch.randn(batch, FRAMES, 80, device=where)

    def recognize(one: SupernetCTC) -> None:
        with torch.inference_mode(), autocast(precision, torch.device(where)):
            one.log_probs(features, [FRAMES] * batch, one.table.full).argmax(-1).tolist()

    found = ratio(lambda: recognize(small), lambda: recognize(net), 5, what="of 12 layers")
    ratio.note(ratio.benchmark.stats.stats.median / (batch * FRAMES / 100), "RTF")
    assert 0 < found < 1.5


@pytest.mark.parametrize(("where", "preset", "precision"), CASES)
def test_a_batch_of_a_new_shape(where: str, preset: str, precision: str, ratio: Ratio) -> None:
    """Batches of a training differ in shape; whatever is prepared for a shape is prepared again and again."""
    here = Training(where, preset, precision, "rows")
    plan, lengths = here.plan(), iter(range(200, 800, 16))

    def step_on_new() -> None:
        here.batch = make_batch(UTTERANCES[where], next(lengths), torch.device(where))
        here.step(plan)

    def step_on_known() -> None:
        here.batch = make_batch(UTTERANCES[where], 500, torch.device(where))
        here.step(plan)

    assert ratio(step_on_new, step_on_known, 9, what="of a step on a known shape") > 0


@NO_GPU
@pytest.mark.parametrize("utterances", [12, 32])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("preset", ["tiny", "small", "base"])
def test_a_step_replayed_as_a_cuda_graph(preset: str, precision: str, utterances: int, ratio: Ratio) -> None:
    """What the GPU needs for a full-network step that the host starts at once: the limit."""
    here = Training("cuda", preset, precision, "rows")
    here.batch = make_batch(utterances, FRAMES, torch.device("cuda"))
    full = Plan((Pass(str(max(SIZES)), here.net.table.full),))
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            here.step(full)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        here.step(full)
    other = Training("cuda", preset, precision, "rows")
    other.batch = here.batch
    assert ratio(graph.replay, lambda: other.step(full), 9, what="of a step started by the host") > 0


@NO_GPU
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("preset", ["tiny", "small", "base"])
def test_share_of_time_that_the_gpu_computes(preset: str, precision: str, ratio: Ratio) -> None:
    here = Training("cuda", preset, precision, "rows")
    plan = here.plan()
    here.step(plan)

    def steps() -> None:
        for _ in range(10):
            here.step(plan)

    start = time.perf_counter()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        took = ratio.benchmark.pedantic(lambda: seconds(steps), rounds=1)
    assert took <= time.perf_counter() - start
    busy = sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6
    assert 0 < ratio.note(busy / took, "share of time") <= 1.05
