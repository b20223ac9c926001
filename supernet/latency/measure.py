"""Measure files in turn, each in a new process, and compare their best times with those of one of them."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supernet.runs.run import RunError
from supernet.system.timing import Timing, together
from supernet.task import ProgressCallback

SECONDS = (1, 5, 10, 30)
"""Durations of the utterances, ascending, since peak memory is recorded as they grow."""
MEMORY_AT = 10
"""The duration whose peak memory is displayed."""
REPEATS = 5
"""Timed runs of each duration in each process."""


@dataclass(frozen=True)
class Subject:
    """A file to measure."""

    label: str
    """The size, or a selection's budget."""
    size: int
    """Units."""
    runtime: str
    """``eager``, ``onnx`` or ``onnx int8``."""
    file: Path

    @property
    def kind(self) -> str:
        """The kind of worker that opens the file."""
        return self.runtime.split()[0]


@dataclass
class Costs:
    """The measurements of a subject over its processes."""

    import_s: list[float] = field(default_factory=list)
    load_s: list[float] = field(default_factory=list)
    times: dict[int, list[Timing]] = field(default_factory=lambda: {s: [] for s in SECONDS})
    memory_mb: dict[int, list[float]] = field(default_factory=lambda: {s: [] for s in SECONDS})

    def add(self, measured: Any) -> None:
        """Add the output of a process."""
        self.import_s.append(measured["import_s"])
        self.load_s.append(measured["load_s"])
        for length in SECONDS:
            self.times[length].append(Timing(**measured["times"][str(length)]))
            self.memory_mb[length].append(measured["memory_mb"][str(length)])


def measure(
    subjects: Sequence[Subject], threads: int, rounds: int, report: ProgressCallback, device: str = "cpu"
) -> list[dict[str, Any]]:
    """Measure subjects in separate processes.

    They take turns, so that a temporary load on the machine affects all of them.

    Args:
        subjects: The files to measure.
        threads: Threads of each process.
        rounds: Processes for each file.
        report: Called as the work progresses.
        device: The device of PyTorch; exports run on the CPU.

    Returns:
        A row for each subject with the best of all runs, and ratios to the largest size in ONNX float32, or
        in PyTorch if there is none.
    """
    costs = {subject: Costs() for subject in subjects}
    for i in range(rounds):
        for k, subject in enumerate(subjects):
            report("measuring", i * len(subjects) + k, rounds * len(subjects))
            costs[subject].add(_run(subject, threads, device))
    rows = [_row(subject, found) for subject, found in costs.items()]
    base = rows[subjects.index(base_of(subjects))]
    for row in rows:
        row["ratios"] = {key: row["costs"][key] / base["costs"][key] for key in row["costs"]}
    return rows


def base_of(subjects: Sequence[Subject]) -> Subject:
    """The subject with which all others are compared."""
    return max(subjects, key=lambda s: (s.runtime == "onnx", s.runtime == "eager", s.size))


def _row(subject: Subject, found: Costs) -> dict[str, Any]:
    costs = {
        "file_mb": subject.file.stat().st_size / 1e6,
        "import_s": min(found.import_s),
        "load_s": min(found.load_s),
    }
    timings = {length: together(found.times[length]) for length in SECONDS}
    for length, timing in timings.items():
        costs[f"memory_mb_{length}s"] = statistics.median(found.memory_mb[length])
        costs[f"rtf_{length}s"] = timing.best / length
    busy = any(timing.is_busy for timing in timings.values())
    about = {"label": subject.label, "size": subject.size, "runtime": subject.runtime}
    return {**about, "costs": costs, "busy": busy}


def _run(subject: Subject, threads: int, device: str) -> Any:
    command = ["supernet.latency.worker", subject.kind, subject.file, device, threads, REPEATS, *SECONDS]
    process = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
    )
    if process.returncode != 0:
        reason = (process.stderr.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
        raise RunError(f"'{subject.file}' must run, but does not: {reason}")
    return json.loads(process.stdout.splitlines()[-1])
