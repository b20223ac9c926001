"""How long work takes. No torch here: what is timed need not bring it."""

from __future__ import annotations

import time
from collections.abc import Callable


def timed(work: Callable[[], object], repeats: int, warm_up: int) -> list[float]:
    """Seconds of each of ``repeats`` runs of ``work``, which returns when its result is there.

    Runs before the first that counts are the warm-up: memory is not there yet, kernels are not chosen yet.
    """
    for _ in range(warm_up):
        work()
    return [_seconds(work) for _ in range(repeats)]


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
