"""Measure files in turn, each in a new process, and compare their best times with those of one of them.

Imports no torch, as devices do not have it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supernet.errors import UserError
from supernet.runtime.precision import FULL, Precision, suffix
from supernet.system.machine import processor
from supernet.system.timing import Timing, together

if TYPE_CHECKING:
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
    file: Path
    precision: Precision | None
    """Of the weights of an export. None: the cut model in PyTorch."""
    kept: tuple[bool, ...] = ()
    """The units to run, where the file has more."""
    difference: float | None = None
    """That of the log-probabilities from the cut model where it was exported. None: not known."""

    @property
    def kind(self) -> str:
        """The kind of worker that opens the file."""
        return "eager" if self.precision is None else "onnx"

    @property
    def runtime(self) -> str:
        """``eager``, ``onnx``, ``onnx int8`` or ``onnx int4``."""
        return self.kind if self.precision in (None, FULL) else f"{self.kind} {self.precision}"

    @property
    def num_bytes(self) -> int:
        """The size of the file, with the weights beside it that several sizes share."""
        weights = self.file.with_name(f"weights{suffix(self.precision or FULL)}.bin")
        return sum(file.stat().st_size for file in (self.file, weights) if file.is_file())


@dataclass
class Costs:
    """The measurements of a subject over its processes."""

    import_s: list[float] = field(default_factory=list)
    load_s: list[float] = field(default_factory=list)
    times: dict[int, list[Timing]] = field(default_factory=lambda: {s: [] for s in SECONDS})
    memory_mb: dict[int, list[float]] = field(default_factory=lambda: {s: [] for s in SECONDS})
    log_probs: list[list[float]] = field(default_factory=list)
    """Of the same noise for all exports; empty in PyTorch."""

    def add(self, measured: Any) -> None:
        """Add the output of a process."""
        self.import_s.append(measured["import_s"])
        self.load_s.append(measured["load_s"])
        self.log_probs = measured["log_probs"]
        for length in SECONDS:
            self.times[length].append(Timing(**measured["times"][str(length)]))
            self.memory_mb[length].append(measured["memory_mb"][str(length)])


def measure(
    title: str,
    subjects: Sequence[Subject],
    threads: int,
    rounds: int,
    report: ProgressCallback,
    device: str = "cpu",
) -> dict[str, Any]:
    """Measure subjects in separate processes.

    They take turns, so that a temporary load on the machine affects all of them.

    Args:
        title: The name of what is measured.
        subjects: The files to measure.
        threads: Threads of each process.
        rounds: Processes for each file.
        report: Called as the work progresses.
        device: The device of PyTorch; exports run on the CPU.

    Returns:
        The machine, and in ``rows``, for each subject, the best of all runs, and ratios to the largest size
        in ONNX float32, or in PyTorch if there is none.
    """
    costs = {subject: Costs() for subject in subjects}
    for i in range(rounds):
        for k, subject in enumerate(subjects):
            report("measuring", i * len(subjects) + k, rounds * len(subjects))
            costs[subject].add(_run(subject, threads, device))
    rows = [_row(subject, found, _exact(subject, costs)) for subject, found in costs.items()]
    base = base_of(subjects)
    divisors = rows[subjects.index(base)]["costs"]
    for row in rows:
        row["ratios"] = {key: row["costs"][key] / divisors[key] for key in row["costs"]}
    return {
        "title": title,
        "machine": processor(),
        "device": device,
        "threads": threads,
        "compared_with": {"label": base.label, "size": base.size, "runtime": base.runtime},
        "rows": rows,
        "busy": any(row["busy"] for row in rows),
    }


def base_of(subjects: Sequence[Subject]) -> Subject:
    """The subject with which all others are compared."""
    return max(subjects, key=lambda s: (s.precision == FULL, s.precision is None, s.size))


def _exact(subject: Subject, costs: Mapping[Subject, Costs]) -> Costs:
    """The measurements of the same network in float32; its own if there is none."""
    same = [s for s in costs if s.precision == FULL and _place(s) == _place(subject)]
    return costs[same[0] if same else subject]


def _place(subject: Subject) -> tuple[Path, str]:
    return subject.file.parent, subject.label


def _row(subject: Subject, found: Costs, exact: Costs) -> dict[str, Any]:
    costs = {
        "file_mb": subject.num_bytes / 1e6,
        "import_s": min(found.import_s),
        "load_s": min(found.load_s),
    }
    timings = {length: together(found.times[length]) for length in SECONDS}
    for length, timing in timings.items():
        costs[f"memory_mb_{length}s"] = statistics.median(found.memory_mb[length])
        costs[f"rtf_{length}s"] = timing.best / length
    busy = any(timing.is_busy for timing in timings.values())
    about = {"label": subject.label, "size": subject.size, "runtime": subject.runtime}
    return {**about, "costs": costs, "busy": busy, "difference": largest_difference(found, exact)}


def largest_difference(found: Costs, exact: Costs) -> float:
    """The largest difference of log-probabilities; infinite if they are not numbers."""
    pairs = zip(chain.from_iterable(found.log_probs), chain.from_iterable(exact.log_probs), strict=True)
    differences = [abs(a - b) for a, b in pairs]
    return max((d if d == d else float("inf") for d in differences), default=0.0)


def _run(subject: Subject, threads: int, device: str) -> Any:
    kept = "".join(str(int(is_kept)) for is_kept in subject.kept) or "all"
    command = [
        "supernet.latency.worker", subject.kind, subject.file, kept, device, threads, REPEATS, *SECONDS
    ]  # fmt: skip
    process = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
    )
    if process.returncode != 0:
        reason = (process.stderr.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
        raise UserError(f"'{subject.file}' must run, but does not: {reason}")
    return json.loads(process.stdout.splitlines()[-1])
