"""Batches for evaluation."""

from __future__ import annotations

import random
from collections.abc import Iterator

from supernet.audio.specification import FRAMES_PER_SECOND
from supernet.task import Batch
from tasks.audio.acoustics import Acoustics
from tasks.reading.collation import Collator
from tasks.store.index import Utterances

_MAX_FRAMES = 60 * FRAMES_PER_SECOND
"""Maximum number of frames of a batch, including padding."""


class EvalBatches:
    """One rank's share of a split, shortest utterances first, the same each time it is iterated.

    The room of an utterance is drawn from its name.

    Args:
        utterances: The usable utterances of the split.
        collate: Makes a batch.
        acoustics: The rooms of a test condition.
        rank: This process.
        num_ranks: The number of processes that share the split.
    """

    def __init__(
        self, utterances: Utterances, collate: Collator, acoustics: Acoustics, rank: int, num_ranks: int
    ) -> None:
        self._batches = list(_group(utterances))[rank::num_ranks]
        self._utterances = utterances
        self._collate = collate
        self._acoustics = acoustics

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        for numbers in self._batches:
            utterances = [self._utterances[number] for number in numbers]
            rooms = [self._acoustics.draw(random.Random(f"{one.id}/room")) for one in utterances]
            yield self._collate(utterances, [(1.0, room) for room in rooms])


def _group(utterances: Utterances) -> Iterator[list[int]]:
    """Group the numbers of utterances into batches, sorted by length."""
    group: list[int] = []
    order = sorted((one.num_frames, one.id, number) for number, one in enumerate(utterances))
    for num_frames, _, number in order:
        if group and num_frames * (len(group) + 1) > _MAX_FRAMES:
            yield group
            group = []
        group.append(number)
    if group:
        yield group
