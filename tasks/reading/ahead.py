"""Batches made in threads while the one before is used: for audio that is decoded whenever it is read."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from supernet.task import Batch, BatchReader


class Planned(BatchReader, Protocol):
    """A reader that can tell what to do for its next batch before doing it."""

    def plan(self) -> Callable[[], Batch]:
        """Go on by a batch, which the result makes, in any thread."""


class Ahead:
    """The batches of ``reader``, the next ``num_workers`` of which are being made, each in a thread.

    Audio is decoded and transformed outside Python's lock, so threads really share the cores.
    """

    def __init__(self, reader: Planned, num_workers: int) -> None:
        self._reader = reader
        self._threads = ThreadPoolExecutor(num_workers, "batches")
        self._num_workers = num_workers
        self._coming: deque[tuple[Future[Batch], dict[str, object]]] = deque()
        self._position = reader.state_dict()
        # Nothing goes on behind the back of whoever has no use for it any more.
        weakref.finalize(self, self._threads.shutdown, wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        while len(self._coming) <= self._num_workers:
            self._coming.append((self._threads.submit(self._reader.plan()), self._reader.state_dict()))
        batch, position = self._coming.popleft()
        made = batch.result()
        self._position = position
        return made

    def state_dict(self) -> dict[str, object]:
        return self._position

    def load_state_dict(self, state: dict[str, object]) -> None:
        for batch, _ in self._coming:
            batch.cancel()
        self._coming.clear()
        self._reader.load_state_dict(state)
        self._position = state
