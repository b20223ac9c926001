"""Timing of work, and detection of other load on the machine. Imports no torch, as timed work may not need
it.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SPREAD = 1.25
"""The greatest ratio of the median run to the best run on an idle machine."""
WAIT_SHARE = 0.2
"""The greatest share of the time that a process waits for a core on an idle machine."""
BUSY = "The machine was busy during the measurement, so times are too long. Measure again when it is idle."


@dataclass(frozen=True)
class Timing:
    """Several runs of the same work; the best is the most accurate, since disturbances only add time."""

    seconds: tuple[float, ...]
    waited: float = 0.0
    """The share of the time for which this process waited for a core."""
    crowd: float = 0.0
    """The load average of the last minute per core."""

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def is_busy(self) -> bool:
        """Whether the machine was probably busy, so that even the best run is too long."""
        return (
            statistics.median(self.seconds) > SPREAD * self.best
            or self.waited > WAIT_SHARE
            or self.crowd > SPREAD
        )


def timed(work: Callable[[], object], repeats: int, warm_up: int) -> Timing:
    """Time ``repeats`` runs of ``work``, which must be synchronous.

    The first ``warm_up`` runs do not count: they allocate memory and choose kernels.
    """
    for _ in range(warm_up):
        work()
    computed = time.process_time()
    seconds = tuple(_seconds(work) for _ in range(repeats))
    computed = time.process_time() - computed
    waited = max(0.0, 1 - computed / sum(seconds)) if sum(seconds) else 0.0
    return Timing(seconds, waited, crowd())


def together(timings: Sequence[Timing]) -> Timing:
    """Combine timings of the same work from several processes."""
    return Timing(
        tuple(s for timing in timings for s in timing.seconds),
        max(timing.waited for timing in timings),
        max(timing.crowd for timing in timings),
    )


def crowd() -> float:
    """The load average per core; 0 if the system does not report it."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
