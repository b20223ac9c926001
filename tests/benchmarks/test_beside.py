"""The default training on all cores, alone and beside a busy process: by threads and by processes.

Run: ``python -m pytest tests/benchmarks/test_beside.py``. Every way trains in processes of its own, in turn,
so that other load on the machine disturbs all alike; ``UPDATES`` and ``ROUNDS`` are environment variables.
Durations are those of the updates alone.
"""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supernet.runs.run import Run
from supernet.system.processes import num_cores
from tests.benchmarks.conftest import Ratio

UPDATES, ROUNDS = (
    int(os.environ.get(name, default)) for name, default in (("UPDATES", "200"), ("ROUNDS", "3"))
)
NEVER = {f"train.{name}_every": UPDATES for name in ("publish", "validate", "checkpoint")}
PASSIVE = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0", "GOMP_SPINCOUNT": "0"}
WAYS: dict[str, tuple[dict[str, object], dict[str, str]]] = {
    "threads": ({"train.processes": 1}, {}),
    "passive threads": ({"train.processes": 1}, PASSIVE),
    "processes": ({"train.processes": "auto"}, {}),
}
"""The settings and the environment of each."""


@contextlib.contextmanager
def beside(number: int) -> Iterator[None]:
    """Busy processes, one core each."""
    command = [sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(command) for _ in range(number)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def train(way: str, cache: Path, folder: Path) -> tuple[float, float]:
    """The seconds and the processor seconds of a training; the latter include its start and its end."""
    settings, environment = WAYS[way]
    values = {"task.num_test": 4, "task.num_valid": 4, "task.cache": cache, **NEVER, **settings}
    options = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    command = ["supernet.train", "--device", "cpu", "--steps", str(UPDATES), "--out", str(folder), *options]
    own = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", *command], env={**own, **environment}, check=True, capture_output=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(folder).training_seconds(), used


@pytest.mark.parametrize("num_busy", [0, 1])
def test_ways_to_use_all_cores(num_busy: int, tmp_path: Path, ratio: Ratio) -> None:
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}

    def all_ways() -> None:
        number = len(found["threads"])
        for way, pairs in found.items():
            with beside(num_busy):
                pairs.append(train(way, tmp_path / "cache", tmp_path / f"{way}-{number}"))

    train("processes", tmp_path / "cache", tmp_path / "first")  # generates the speech
    ratio.benchmark.pedantic(all_ways, rounds=ROUNDS)
    ratio.note(float(num_cores()), "cores")
    for way, pairs in found.items():
        wall, used = zip(*pairs, strict=True)
        ratio.note(statistics.median(wall), f"{way}: s")
        ratio.note(max(wall) / min(wall), f"{way}: slowest of fastest")
        ratio.note(statistics.median(used), f"{way}: processor s")
        assert min(wall) > 0
