"""Batches of training and of evaluation."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from lhotse import MonoCut
from lhotse.dataset import DynamicBucketingSampler
from numpy.typing import NDArray
from torch import Tensor

from supernet.audio.features import FRAMES_PER_SECOND, LOG_MEL, Input
from supernet.task import Batch
from supernet.text.tokens import Tokens
from tasks.audio.acoustics import Acoustics, Room
from tasks.audio.augmentation import SpecAugment, spec_augment, warp_frequencies
from tasks.store.index import Row, Rows


class Load(Protocol):
    """Features ``(T, F)`` of a row, so many times as fast, in a room."""

    def __call__(self, row: Row, speed: float = 1.0, room: Room | None = None) -> Tensor: ...


_EVAL_FRAMES = 60 * FRAMES_PER_SECOND
_MAX_BUCKETS = 8
_BATCHES_PER_BUCKET = 8
"""With fewer, the incomplete batches that end an epoch would be many."""


def collate(rows: Sequence[Row], features: list[Tensor], tokens: Tokens, input: Input = LOG_MEL) -> Batch:
    """One batch of ``rows``, in their order; targets are what ``tokens`` can write of the texts."""
    targets = [np.array(tokens.encode_known(row.text), np.int64) for row in rows]
    return Batch(
        features_BTF=_pad([frames.numpy() for frames in features]),
        num_frames=[len(frames) for frames in features],
        targets_BL=_pad(targets),
        num_targets=[len(target) for target in targets],
        ids=[row.id for row in rows],
        texts=[row.text for row in rows],
        input=input,
    )


def _pad(sequences: list[np.ndarray[Any, Any]]) -> Tensor:
    """Stacked, zero where padded. In NumPy for the reason that tasks.audio.augmentation gives."""
    longest = max(len(sequence) for sequence in sequences)
    padded = np.zeros((len(sequences), longest, *sequences[0].shape[1:]), sequences[0].dtype)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(padded)


class TrainReader:
    """One rank's training batches, without end.

    An epoch is a Lhotse sampler made anew from (seed, epoch), and a batch's augmentation is drawn from (seed,
    number, rank): a position is therefore three counters, and every rank sees equally many batches.
    """

    def __init__(
        self,
        rows: Rows,
        load: Load,
        tokens: Tokens,
        *,
        batch_seconds: float,
        augmentation: SpecAugment,
        frequency_warp: float,
        speeds: Sequence[float],
        acoustics: Acoustics,
        seed: int,
        rank: int,
        num_ranks: int,
        input: Input = LOG_MEL,
    ) -> None:
        self._rows = rows
        self._input = input
        self._load = load
        self._tokens = tokens
        self._batch_seconds = batch_seconds
        self._augmentation = augmentation
        self._frequency_warp = frequency_warp
        self._speeds = tuple(speeds) or (1.0,)
        self._acoustics = acoustics
        self._seed = seed
        self._rank = rank
        self._num_ranks = num_ranks

        self._epoch = 0
        self._done_in_epoch = 0
        self._number = 0
        self._batches: Iterator[list[int]] | None = None

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        return self.plan()()

    def plan(self) -> Callable[[], Batch]:
        """Go on by a batch, which the result makes, in any thread."""
        position = f"{self._seed}/{self._number}/{self._rank}"
        self._number += 1
        return partial(self._make, self._next_numbers(), position)

    def _make(self, numbers: list[int], position: str) -> Batch:
        rows = [self._rows[number] for number in numbers]
        rng, rooms = random.Random(position), random.Random(f"{position}/rooms")
        features = [self._load(row, rng.choice(self._speeds), self._acoustics.draw(rooms)) for row in rows]
        batch = collate(rows, features, self._tokens, self._input)
        draw = np.random.default_rng(rng.getrandbits(63))
        batch.features_BTF = warp_frequencies(batch.features_BTF, self._frequency_warp, draw)
        width = batch.features_BTF.size(2)
        batch.hidden_BTF = spec_augment(batch.num_frames, width, self._augmentation, draw)
        return batch

    def state_dict(self) -> dict[str, object]:
        """The position, and what it is a position in."""
        return {
            "epoch": self._epoch,
            "done_in_epoch": self._done_in_epoch,
            "number": self._number,
            **self._identity(),
        }

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go to a position. Raises ``ValueError`` where it belongs to other batches."""
        for name, mine in self._identity().items():
            if state[name] != mine:
                raise ValueError(
                    f"`{name}` of the training data must be {state[name]} as it was, but is {mine} instead. "
                    "Go on with the settings of the run, or start a new one."
                )
        self._epoch, self._done_in_epoch, self._number = (
            int(str(state[name])) for name in ("epoch", "done_in_epoch", "number")
        )
        self._batches = None

    def _identity(self) -> dict[str, object]:
        return {
            "seed": self._seed,
            "num_ranks": self._num_ranks,
            "num_utterances": len(self._rows),
            "batch_seconds": self._batch_seconds,
        }

    def _next_numbers(self) -> list[int]:
        """Which rows are the next batch."""
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
        rng = random.Random(f"{self._seed}/{self._epoch}")
        is_left = np.ones(len(self._rows), bool)
        while is_left.any():
            for batch in self._sampler(np.flatnonzero(is_left), rng):
                numbers = [cut.number for cut in batch]
                is_left[numbers] = False  # a sampler of several ranks repeats some to fill up
                yield numbers
            if self._num_ranks > 1:
                return  # what is left is the other ranks'
            # One rank alone: Lhotse's sampler may take an empty bucket for a last batch, and end too early.

    def _sampler(self, numbers: NDArray[np.int64], rng: random.Random) -> Any:
        rng.shuffle(numbers)  # type: ignore[arg-type]
        frames = self._rows.num_frames
        return DynamicBucketingSampler(
            # It holds no more than a part of them at a time.
            (_stand_in(number, frames[number]) for number in numbers.data),
            max_duration=self._batch_seconds,
            duration_bins=self._duration_bins,
            shuffle=True,
            # Ranks that step together get utterances of like length. For one rank alone it would only fix the
            # order of buckets, the same in every epoch.
            sync_buckets=self._num_ranks > 1,
            seed=rng.getrandbits(32),
            rank=self._rank,
            world_size=self._num_ranks,
        )

    @cached_property
    def _duration_bins(self) -> list[float]:
        """Bounds between buckets of equally many seconds."""
        durations = np.sort(self._rows.num_frames / FRAMES_PER_SECOND)
        total = sum(durations.data)  # one float after the other, without a list of them
        num_batches = total / (self._batch_seconds * self._num_ranks)
        num_buckets = min(_MAX_BUCKETS, max(1, int(num_batches / _BATCHES_PER_BUCKET)))
        bounds = _bounds(durations.data, total / num_buckets, num_buckets)
        # The sampler wants at least one bound.
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
    """All that a sampler needs to know. It renames cuts that it repeats to fill up; the number survives."""
    seconds = int(num_frames) / FRAMES_PER_SECOND
    return MonoCut(str(number), start=0, duration=seconds, channel=0, custom={"number": number})


class EvalBatches:
    """One rank's share of a split, shortest first, each time the same: the room of an utterance is drawn from
    its name.
    """

    def __init__(
        self,
        rows: Rows,
        load: Load,
        tokens: Tokens,
        *,
        acoustics: Acoustics,
        rank: int,
        num_ranks: int,
        input: Input = LOG_MEL,
    ) -> None:
        self._input = input
        self._batches = list(_group(rows))[rank::num_ranks]
        self._rows = rows
        self._load = load
        self._tokens = tokens
        self._acoustics = acoustics

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        for numbers in self._batches:
            rows = [self._rows[number] for number in numbers]
            yield collate(rows, [self._load_in_room(row) for row in rows], self._tokens, self._input)

    def _load_in_room(self, row: Row) -> Tensor:
        return self._load(row, room=self._acoustics.draw(random.Random(f"{row.id}/room")))


def _group(rows: Rows) -> Iterator[list[int]]:
    """Numbers of rows by length, as many at a time as fit, padding included."""
    group: list[int] = []
    for num_frames, _, number in sorted((row.num_frames, row.id, i) for i, row in enumerate(rows)):
        if group and num_frames * (len(group) + 1) > _EVAL_FRAMES:
            yield group
            group = []
        group.append(number)
    if group:
        yield group
