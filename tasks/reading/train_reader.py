"""Batches for training: an endless stream that can be resumed bit by bit."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import Any

import numpy as np
from lhotse import MonoCut
from lhotse.dataset import DynamicBucketingSampler
from numpy.typing import NDArray

from supernet.audio.specification import FRAMES_PER_SECOND
from supernet.task import Batch
from tasks.audio.acoustics import Acoustics
from tasks.audio.augmentation import SpecAugment, spec_augment, warp_frequencies
from tasks.reading.collation import Collator
from tasks.store.index import Utterances

_MAX_BUCKETS = 8
_BATCHES_PER_BUCKET = 8
"""With fewer, too many of an epoch's batches would be the incomplete last ones of their buckets."""


@dataclass(frozen=True)
class Batching:
    """Composition of training batches."""

    seconds: float
    """Seconds of speech in a batch of one rank."""
    seed: int = 0
    rank: int = 0
    num_ranks: int = 1


@dataclass(frozen=True)
class Augmentation:
    """Random changes to training batches."""

    masks: SpecAugment
    acoustics: Acoustics
    frequency_warp: float = 0.0
    """The largest relative stretch of the frequencies."""
    speeds: tuple[float, ...] = (1.0,)


class TrainReader:
    """One rank's endless stream of training batches.

    An epoch is a Lhotse sampler built from (seed, epoch), and a batch's augmentation is drawn from (seed,
    number, rank). A position is therefore three counters, and every rank sees equally many batches.

    Args:
        utterances: The usable utterances of the training split.
        collate: Makes a batch.
        batching: How batches are composed.
        augmentation: How they are changed.
    """

    def __init__(
        self, utterances: Utterances, collate: Collator, batching: Batching, augmentation: Augmentation
    ) -> None:
        self._utterances = utterances
        self._collate = collate
        self._batching = batching
        self._augmentation = augmentation

        self._epoch = 0
        self._done_in_epoch = 0
        self._number = 0
        self._batches: Iterator[list[int]] | None = None

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        return self.plan()()

    def plan(self) -> Callable[[], Batch]:
        """Advance by one batch and return a function that makes it, in any thread."""
        position = f"{self._batching.seed}/{self._number}/{self._batching.rank}"
        self._number += 1
        return partial(self._make, self._next_numbers(), position)

    def _make(self, numbers: list[int], position: str) -> Batch:
        augmentation = self._augmentation
        rng, rooms = random.Random(position), random.Random(f"{position}/rooms")
        utterances = [self._utterances[number] for number in numbers]
        batch = self._collate(
            utterances,
            [(rng.choice(augmentation.speeds), augmentation.acoustics.draw(rooms)) for _ in utterances],
        )
        draw = np.random.default_rng(rng.getrandbits(63))
        batch.features_BTF = warp_frequencies(batch.features_BTF, augmentation.frequency_warp, draw)
        width = batch.features_BTF.size(2)
        batch.hidden_BTF = spec_augment(batch.num_frames, width, augmentation.masks, draw)
        return batch

    def state_dict(self) -> dict[str, object]:
        """Return the position, and the identity of the stream that it belongs to."""
        return {
            "epoch": self._epoch,
            "done_in_epoch": self._done_in_epoch,
            "number": self._number,
            **self._identity(),
        }

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go to a position. Raises ``ValueError`` if it belongs to another stream."""
        for name, mine in self._identity().items():
            if state[name] != mine:
                raise ValueError(
                    f"`{name}` of the training data must be {state[name]} as before, but is {mine} instead. "
                    "Continue with the settings of the run, or start a new one."
                )
        self._epoch, self._done_in_epoch, self._number = (
            int(str(state[name])) for name in ("epoch", "done_in_epoch", "number")
        )
        self._batches = None

    def _identity(self) -> dict[str, object]:
        return {
            "seed": self._batching.seed,
            "num_ranks": self._batching.num_ranks,
            "num_utterances": len(self._utterances),
            "batch_seconds": self._batching.seconds,
        }

    def _next_numbers(self) -> list[int]:
        """Take the next batch of the epoch, as numbers of utterances."""
        if self._batches is None:
            self._batches = islice(self._open_epoch(), self._done_in_epoch, None)
        numbers = next(self._batches, None)
        if numbers is None:
            self._epoch += 1
            self._done_in_epoch = 0
            self._batches = self._open_epoch()
            numbers = next(self._batches)
        self._done_in_epoch += 1
        return numbers

    def _open_epoch(self) -> Iterator[list[int]]:
        rng = random.Random(f"{self._batching.seed}/{self._epoch}")
        is_left = np.ones(len(self._utterances), bool)
        while is_left.any():
            for batch in self._sampler(np.flatnonzero(is_left), rng):
                numbers = [cut.number for cut in batch]
                is_left[numbers] = False  # with several ranks, a sampler repeats some to fill up
                yield numbers
            if self._batching.num_ranks > 1:
                return  # the rest belongs to the other ranks
            # On one rank, Lhotse's sampler may take an empty bucket for the last batch and stop too early.

    def _sampler(self, numbers: NDArray[np.int64], rng: random.Random) -> Any:
        rng.shuffle(numbers)  # type: ignore[arg-type]
        frames = self._utterances.num_frames
        return DynamicBucketingSampler(
            # It buffers only some of them at a time.
            (_stand_in(number, frames[number]) for number in numbers.data),
            max_duration=self._batching.seconds,
            duration_bins=self._duration_bins,
            shuffle=True,
            # Ranks that step together get utterances of similar length. On one rank, this would only fix the
            # order of the buckets, the same in every epoch.
            sync_buckets=self._batching.num_ranks > 1,
            seed=rng.getrandbits(32),
            rank=self._batching.rank,
            world_size=self._batching.num_ranks,
        )

    @cached_property
    def _duration_bins(self) -> list[float]:
        """Boundaries between buckets that hold equally many seconds each."""
        durations = np.sort(self._utterances.num_frames / FRAMES_PER_SECOND)
        total = sum(durations.data)  # one float after another, without a list of them
        num_batches = total / (self._batching.seconds * self._batching.num_ranks)
        num_buckets = min(_MAX_BUCKETS, max(1, int(num_batches / _BATCHES_PER_BUCKET)))
        bounds = _bounds(durations.data, total / num_buckets, num_buckets)
        # The sampler needs at least one boundary.
        return bounds or [float(durations[-1]) + 1.0]


def _bounds(durations: Iterable[float], share: float, num_buckets: int) -> list[float]:
    bounds: list[float] = []
    total = 0.0
    for duration in durations:
        if total >= share * (len(bounds) + 1) and len(bounds) < num_buckets - 1:
            bounds.append(duration)
        total += duration
    return bounds


def _stand_in(number: int, num_frames: int) -> MonoCut:
    """A cut with all that a sampler reads. The sampler renames cuts that it repeats; the number survives."""
    seconds = int(num_frames) / FRAMES_PER_SECOND
    return MonoCut(str(number), start=0, duration=seconds, channel=0, custom={"number": number})
