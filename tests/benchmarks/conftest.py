"""How ratios are measured: two pieces of work in turn, in one process, on the CPU and a GPU if there is one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

Work = Callable[[], object]

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=NO_GPU)]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@dataclass
class Ratio:
    """Measures work against a yardstick, and writes the result into the benchmark's record."""

    benchmark: Any
    name: str

    def __call__(self, work: Work, yardstick: Work, rounds: int = 5, *, what: str = "ratio") -> float:
        """Median seconds of ``work`` over those of ``yardstick``, taken in turn so that drift hits both."""
        for warm_up in (work, yardstick):
            seconds(warm_up)
        pairs = [(seconds(work), seconds(yardstick)) for _ in range(rounds)]
        mine, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
        self.benchmark.extra_info["yardstick_seconds"] = theirs
        return self.note(mine / theirs, what, mine)

    def note(self, value: float, what: str, took: float = 0.0) -> float:
        """Record a ratio that was found in another way."""
        self.benchmark.extra_info[what] = value
        if not self.benchmark.stats:  # the plugin wants a timing of its own
            self.benchmark.pedantic(lambda: None, rounds=1)
        self.benchmark.extra_info["seconds"] = took
        print(f"\n{self.name}: {what} {value:.3f}")
        return value


@pytest.fixture
def ratio(benchmark: Any, request: pytest.FixtureRequest) -> Ratio:
    benchmark.extra_info["threads"] = torch.get_num_threads()
    return Ratio(benchmark, request.node.name)


def seconds(work: Work) -> float:
    """How long ``work`` takes until the device is done with it."""
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def activation_bytes(work: Work) -> int:
    """What ``work`` keeps for its backward pass: every storage once. The same on any device."""
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        work()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
