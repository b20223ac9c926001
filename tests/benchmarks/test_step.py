"""The cost of a supernet's steps relative to a step of the full network and to a step of each size alone.

Run: ``python -m pytest tests/benchmarks``. Every figure is a ratio within one process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch

from supernet.config import Config
from supernet.methods.simple_top_k import SimpleTopK, SimpleTopKOptions
from supernet.network.supernet_ctc import SupernetCTC
from supernet.plan import Pass, Plan
from supernet.task import Batch
from supernet.training.compute import step_compute
from supernet.training.schedule import Schedule
from supernet.training.step import step_of
from tests.benchmarks.conftest import Ratio, activation_bytes

NUM_TOKENS = 28
UNITS = {"layers 6/9/12": ("layer", (6, 9, 12)), "modules 16/32/48": ("module", (16, 32, 48))}
DIMS = {96: 5, 144: 3, 384: 1}
"""The number of rounds by model dimension: large networks are slow, and their times vary little."""
LENGTHS = {"short": (16, 200), "long": (3, 1000)}
"""Numbers of utterances in a batch, and of frames in the longest."""
PHASES = ("phase 1", "smallest size", "phase 2")
"""The phases: score learning, the smallest size alone, and all sizes jointly."""


def make_batch(num_utterances: int = 16, num_frames: int = 200, device: torch.device | None = None) -> Batch:
    """Random features of slightly different lengths."""
    torch.manual_seed(0)
    batch = Batch(
        torch.randn(num_utterances, num_frames, 80),
        [num_frames - 2 * i for i in range(num_utterances)],
        torch.randint(1, NUM_TOKENS, (num_utterances, 24)),
        [24] * num_utterances,
        [str(i) for i in range(num_utterances)],
        [""] * num_utterances,
    )
    batch.to(device or torch.device("cpu"))
    return batch


@dataclass
class Bench:
    """A network and a batch to take steps with."""

    model: SupernetCTC
    schedule: Schedule
    batch: Batch
    sizes: Sequence[int]

    def step(self, plan: Plan) -> None:
        loss = self.model(self.batch, step_of(plan, len(self.batch)))
        (loss.total / loss.num_frames).backward()
        self.model.zero_grad(set_to_none=True)

    def forward(self, plan: Plan) -> object:
        return self.model(self.batch, step_of(plan, len(self.batch))).total

    @property
    def full(self) -> Plan:
        return Plan((Pass(str(max(self.sizes)), self.model.table.full),))

    def plan(self, phase: str) -> Plan:
        _, start = self.schedule.boundaries()[PHASES.index(phase)]
        number = start + 1
        self.schedule.begin(number)
        return self.schedule.plan(number)

    def alone(self) -> list[Plan]:
        """One step of each size alone."""
        self.plan("phase 2")
        return [Plan((Pass(size, kept),)) for size, kept in self.schedule.subnets().items()]


@pytest.fixture
def bench(device: torch.device) -> Callable[[str, str, int, str], Bench]:
    def make(case: str, sharing: str, dim: int, length: str) -> Bench:
        granularity, sizes = UNITS[case]
        net = {"dim": dim, "ffn_dim": 4 * dim}
        config = Config.model_validate(
            {"granularity": granularity, "sizes": sizes, "passes": {"sharing": sharing}, "model": net}
        )
        torch.manual_seed(0)
        model = SupernetCTC(config, NUM_TOKENS)
        with torch.no_grad():  # distinct scores, so that the subnets are spread over the depth
            torch.nn.init.normal_(model.scorer.importance())
        schedule = Schedule(SimpleTopK(SimpleTopKOptions(), config), model.to(device), seed=0)
        return Bench(model, schedule, make_batch(*LENGTHS[length], device), sizes)

    return make


Make = Callable[[str, str, int, str], Bench]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("sharing", ["rows", "batch"])
@pytest.mark.parametrize("case", UNITS)
@pytest.mark.parametrize("phase", PHASES)
def test_step_relative_to_one_of_the_full_network(
    phase: str, case: str, sharing: str, dim: int, length: str, bench: Make, ratio: Ratio
) -> None:
    here = bench(case, sharing, dim, length)
    plan = here.plan(phase)
    counted = step_compute(plan, (1.0,) * len(here.model.table), num_rows=len(here.batch)) / max(here.sizes)
    found = ratio(lambda: here.step(plan), lambda: here.step(here.full), DIMS[dim], what="full-network steps")
    ratio.note(counted, "rows and units")
    assert found > 0
    if sharing == "rows":  # no row runs more than the full network
        assert counted <= 1


@pytest.mark.parametrize("case", UNITS)
@pytest.mark.parametrize("sharing", ["rows", "batch"])
def test_step_relative_to_separate_trainings(case: str, sharing: str, bench: Make, ratio: Ratio) -> None:
    here = bench(case, sharing, 144, "short")
    plan, alone = here.plan("phase 2"), here.alone()

    def separately() -> None:
        for one in alone:
            here.step(one)

    assert ratio(lambda: here.step(plan), separately, what="separate steps of all sizes") > 0


@pytest.mark.parametrize("case", UNITS)
@pytest.mark.parametrize("sharing", ["rows", "batch"])
@pytest.mark.parametrize("phase", PHASES)
def test_memory_relative_to_the_full_network(
    case: str, sharing: str, phase: str, bench: Make, ratio: Ratio
) -> None:
    here = bench(case, sharing, 96, "short")
    plan = here.plan(phase)
    theirs = activation_bytes(lambda: here.forward(here.full))
    mine = ratio.benchmark.pedantic(lambda: activation_bytes(lambda: here.forward(plan)), rounds=1)
    found = ratio.note(mine / theirs, "activations kept")
    if sharing == "rows":
        assert found < 1.2
