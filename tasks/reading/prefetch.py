"""Prefetching: batches are made in threads ahead of time, for audio that is decoded whenever it is read."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

from supernet.task import Batch, BatchReader


class PlanningReader(BatchReader, Protocol):
    """A reader that can plan a batch before making it."""

    def plan(self) -> Callable[[], Batch]:
        """Advance by one batch and return a function that makes it, in any thread."""


class Prefetcher:
    """The batches of ``reader``, the next ``num_workers`` of which are being made, each in a thread.

    Audio is decoded and transformed without holding Python's global lock, so threads do share the cores.
    """

    def __init__(self, reader: PlanningReader, num_workers: int) -> None:
        self._reader = reader
        self._threads = ThreadPoolExecutor(num_workers, "batches")
        self._num_workers = num_workers
        self._pending: deque[tuple[Future[Batch], dict[str, object]]] = deque()
        self._position = reader.state_dict()
        # No thread may outlive the last reference to this object.
        weakref.finalize(self, _shut_down, self._threads)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        while len(self._pending) <= self._num_workers:
            self._pending.append((self._threads.submit(self._reader.plan()), self._reader.state_dict()))
        batch, position = self._pending.popleft()
        made = batch.result()
        self._position = position
        return made

    def state_dict(self) -> dict[str, object]:
        return self._position

    def load_state_dict(self, state: dict[str, object]) -> None:
        for batch, _ in self._pending:
            batch.cancel()
        self._pending.clear()
        self._reader.load_state_dict(state)
        self._position = state


def _shut_down(threads: ThreadPoolExecutor) -> None:
    # The garbage collector may run in one of the threads, which cannot wait for itself.
    with suppress(RuntimeError):
        threads.shutdown(wait=True, cancel_futures=True)
