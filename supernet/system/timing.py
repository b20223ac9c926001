"""How long work takes, and whether the machine had other work meanwhile. No torch here: what is timed need
not bring it.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SPREAD = 1.25
"""The typical run takes at most so many times the best one where nothing else runs."""
WAITED = 0.2
"""The share of the time that a process may wait for a core."""
BUSY = "The machine was busy while times were taken: they are too long. Measure again when it is idle."


@dataclass(frozen=True)
class Timing:
    """Several runs of the same work: what disturbs one makes it longer, so the best is the nearest to what it
    takes.
    """

    seconds: tuple[float, ...]
    waited: float = 0.0
    """The share of the time for which this process had no core."""
    crowd: float = 0.0
    """Processes that wanted to run in the last minute, on average, by core."""

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def is_busy(self) -> bool:
        """Whether the machine is likely to have had other work, so that even the best run is too long."""
        return (
            statistics.median(self.seconds) > SPREAD * self.best
            or self.waited > WAITED
            or self.crowd > SPREAD
        )


def timed(work: Callable[[], object], repeats: int, warm_up: int) -> Timing:
    """``repeats`` runs of ``work``, which returns when its result is there.

    Runs before the first that counts are the warm-up: memory is not there yet, kernels are not chosen yet.
    """
    for _ in range(warm_up):
        work()
    computed = time.process_time()
    seconds = tuple(_seconds(work) for _ in range(repeats))
    computed = time.process_time() - computed
    waited = max(0.0, 1 - computed / sum(seconds)) if sum(seconds) else 0.0
    return Timing(seconds, waited, crowd())


def together(timings: Sequence[Timing]) -> Timing:
    """The same work timed in several processes."""
    return Timing(
        tuple(s for timing in timings for s in timing.seconds),
        max(timing.waited for timing in timings),
        max(timing.crowd for timing in timings),
    )


def crowd() -> float:
    """The load of this machine by core; 0 where the system does not say."""
    return os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 0.0


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
