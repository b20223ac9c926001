"""Steps of the default training on all cores, alone and beside a busy process: by threads and by processes.

Run: ``python -m pytest tests/benchmarks/test_beside.py``. The ways take turns of a few steps, so that other
load on the machine disturbs all alike; its load average is noted. ``ROUNDS=20`` takes more turns.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator

import pytest

from supernet.system.timing import crowd
from tests.benchmarks.conftest import Ratio

ROUNDS, STEPS = int(os.environ.get("ROUNDS", "6")), 8
PASSIVE = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0", "GOMP_SPINCOUNT": "0"}
WAYS: dict[str, tuple[str, dict[str, str]]] = {
    "threads": ("1", {}),
    "threads that do not spin": ("1", PASSIVE),
    "one thread": ("1", {"OMP_NUM_THREADS": "1"}),
    "processes": ("auto", {}),
}
"""The number of processes and the environment of each."""


@contextlib.contextmanager
def busy(number: int) -> Iterator[None]:
    """Processes that each keep a core busy."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


class Way:
    """A training that takes steps on request."""

    def __init__(self, count: str, environment: dict[str, str]) -> None:
        own = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
        command = [sys.executable, "-m", "tests.benchmarks.stepping", count]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, env={**own, **environment}, stdin=pipe, stdout=pipe, text=True
        )
        self.found: dict[int, list[tuple[float, float]]] = {0: [], 1: []}
        """By number of busy processes, the seconds and the processor seconds of a step."""

    def steps(self, number: int) -> tuple[float, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(number, file=self._process.stdin, flush=True)
        wall, used = map(float, self._process.stdout.readline().split())
        return wall / number, used / number

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture
def ways() -> Iterator[dict[str, Way]]:
    found = {name: Way(*how) for name, how in WAYS.items()}
    for way in found.values():
        way.steps(2)
    yield found
    for way in found.values():
        way.close()


def test_ways_to_use_all_cores(ways: dict[str, Way], ratio: Ratio) -> None:
    order = list(ways.values())

    def turn() -> None:
        for number in (0, 1):
            with busy(number):
                for way in order:
                    way.found[number].append(way.steps(STEPS))
        order.append(order.pop(0))  # who has waited longest is favored by the scheduler

    ratio.benchmark.pedantic(turn, rounds=ROUNDS)
    ratio.note(crowd(), "load per core")
    baseline = statistics.median(wall for wall, _ in ways["threads"].found[0])
    for name, way in ways.items():
        alone, beside = ([wall for wall, _ in way.found[number]] for number in (0, 1))
        ratio.note(statistics.median(alone) / baseline, f"{name}, of threads alone")
        ratio.note(min(alone), f"{name}, alone, best s")
        ratio.note(max(alone) / min(alone), f"{name}, alone, worst of best")
        ratio.note(statistics.median(beside) / statistics.median(alone), f"{name}, beside of alone")
        ratio.note(min(beside), f"{name}, beside, best s")
        ratio.note(statistics.median(used for _, used in way.found[0]), f"{name}, processor s")
        assert min(alone) > 0
