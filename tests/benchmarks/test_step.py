"""What a supernet's steps cost, as ratios to one full-net step of the same batch in the same process.

Run: ``python -m pytest tests/benchmarks``. Every figure is a ratio of medians; seconds depend on the
machine's mood.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
import torch

from supernet.batch import Batch
from supernet.config import Config
from supernet.methods.simple_top_k import SimpleTopK, SimpleTopKOptions
from supernet.model import Recogniser
from supernet.phases import Schedule
from supernet.step import Pass, Plan, Step

NUM_TOKENS = 28
ROUNDS = 9
CASES = {"layers 6/9/12": ("layer", (6, 9, 12)), "modules 16/32/48": ("module", (16, 32, 48))}


def make_batch(num_utterances: int = 16, num_frames: int = 200) -> Batch:
    """Random features of slightly different lengths."""
    torch.manual_seed(0)
    lengths = [num_frames - 2 * i for i in range(num_utterances)]
    return Batch(
        torch.randn(num_utterances, num_frames, 80),
        lengths,
        torch.randint(1, NUM_TOKENS, (num_utterances, 24)),
        [24] * num_utterances,
        [str(i) for i in range(num_utterances)],
        [""] * num_utterances,
    )


def measured_ratio(step: Callable[[Plan], None], plan: Plan, full: Plan) -> float:
    """Median seconds of ``plan`` over those of ``full``, taken in turn so that drift hits both."""
    times: dict[int, list[float]] = {0: [], 1: []}
    for round_ in range(ROUNDS + 2):
        for i, p in enumerate((plan, full)):
            start = time.perf_counter()
            step(p)
            if round_ >= 2:
                times[i].append(time.perf_counter() - start)
    return statistics.median(times[0]) / statistics.median(times[1])


@pytest.mark.parametrize("sharing", ["rows", "batch"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("phase", ["phase 1", "phase 2"])
def test_step_ratio(
    case: str, sharing: str, phase: str, record_property: Callable[[str, object], None]
) -> None:
    granularity, sizes = CASES[case]
    config = Config.model_validate(
        {"granularity": granularity, "sizes": sizes, "passes": {"sharing": sharing}}
    )
    torch.manual_seed(0)
    model = Recogniser(config, NUM_TOKENS, initial_score=0.5)
    with torch.no_grad():  # distinct scores, so that the subnets are spread over the depth
        model.scores.add_(0.01 * torch.randn_like(model.scores))
    schedule = Schedule(SimpleTopK(SimpleTopKOptions(), config), model, seed=0)
    number = 1 if phase == "phase 1" else config.train.num_steps - 1
    schedule.begin(number)
    batch = make_batch()

    def step(plan: Plan) -> None:
        loss = model(batch, Step(plan))
        (loss.total / loss.num_frames).backward()
        model.zero_grad(set_to_none=True)

    full = Plan((Pass(max(sizes), model.table.full),))
    ratio = measured_ratio(step, schedule.plan(number), full)
    record_property("ratio", ratio)
    print(f"\n{case}, {sharing}, {phase}: {ratio:.2f} full-net steps")
    assert ratio > 0
