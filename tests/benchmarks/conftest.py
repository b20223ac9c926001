"""Measures ratios of times: two pieces of work in alternation in one process, on the CPU and on a GPU."""

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
    """Measures work relative to a yardstick, and adds the result to the benchmark's record."""

    benchmark: Any

    def of_processor(self, work: Work, yardstick: Work, rounds: int = 5, *, what: str = "ratio") -> float:
        """The same in processor time, which other programs hardly disturb, with the lowest and the highest
        ratio of neighbors.
        """
        both = [(processor_seconds(work), processor_seconds(yardstick)) for _ in range(rounds + 1)][1:]
        ratios = [mine / theirs for mine, theirs in both]
        self.note(min(ratios), f"{what}, lowest")
        self.note(max(ratios), f"{what}, highest")
        mine, theirs = (statistics.median(times) for times in zip(*both, strict=True))
        self.benchmark.pedantic(lambda: None)
        return self.note(mine / theirs, what)

    def __call__(self, work: Work, yardstick: Work, rounds: int = 5, *, what: str = "ratio") -> float:
        """Median seconds of ``work`` divided by those of ``yardstick``, alternating so drift affects both."""
        theirs: list[float] = []

        def before_each() -> None:
            theirs.append(seconds(yardstick))

        seconds(work)  # a warm-up of both
        seconds(yardstick)
        self.benchmark.pedantic(lambda: seconds(work), setup=before_each, rounds=rounds)
        found = self.benchmark.stats.stats.median / statistics.median(theirs)
        return self.note(found, what)

    def note(self, value: float, what: str) -> float:
        """Record a ratio that was determined in another way."""
        self.benchmark.extra_info[what] = value
        return value


@pytest.fixture
def ratio(benchmark: Any) -> Ratio:
    benchmark.extra_info["threads"] = torch.get_num_threads()
    return Ratio(benchmark)


def seconds(work: Work) -> float:
    """The time of ``work`` until the device has finished it."""
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def processor_seconds(work: Work) -> float:
    """The processor time of ``work`` in all threads, or its time if a GPU computes."""
    if torch.cuda.is_available():
        return seconds(work)
    start = time.process_time()
    work()
    return time.process_time() - start


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def activation_bytes(work: Work) -> int:
    """The memory that ``work`` saves for its backward pass, each storage once; equal on any device."""
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        work()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the ratios; the plugin's own table has only seconds."""
    session = getattr(config, "_benchmarksession", None)
    terminalreporter.section("ratios")
    for benchmark in session.benchmarks if session else []:
        values = {key: value for key, value in benchmark.extra_info.items() if isinstance(value, float)}
        shown = "   ".join(f"{key} {value:.3f}" for key, value in values.items())
        terminalreporter.write_line(f"{benchmark.name}: {shown}")
