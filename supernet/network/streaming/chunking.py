"""Chunks of stream frames, within which and up to which a streaming network sees; plain data."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from supernet.model_config import ModelConfig
from supernet.plan import Step

MOST_LEFT = 8
"""The most chunks to the left in training, unless all are visible, as in half of the chunked utterances."""


@dataclass(frozen=True)
class Chunking:
    """The chunks in which a streaming network reads an utterance: a frame sees its own chunk to the end, its
    look-ahead, and what lies before it.
    """

    frames: int
    """The stream frames of a chunk."""
    left: int | None = None
    """The number of chunks before its own that attention sees. None: all."""
    ahead: int = 0
    """The frames after a chunk that it sees; they are computed once with it, and again in their own chunk."""

    @property
    def left_frames(self) -> int | None:
        """The frames before its own chunk that attention sees. None: all."""
        return None if self.left is None else self.left * self.frames

    def within(self, length: int) -> Chunking | None:
        """These chunks in an utterance of so many frames. None: it is a single chunk."""
        return self if self.frames < length else None


Chunkings = Sequence[Chunking | None]
"""By row of a batch; None for utterances that are seen whole."""


def step_chunkings(config: ModelConfig, step: Step, count: int) -> list[Chunking | None] | None:
    """How each of the ``count`` utterances of a training step is read, if the network is to stream: with
    dynamic chunks (arXiv 2012.05481), drawn for each utterance instead of each batch.

    Drawn for the whole batch, so that the processes that have its parts draw the same.
    """
    if not config.streaming:
        return None
    part = range(count) if step.part is None else step.part
    rng = step.draw.random("chunks")
    drawn = [_drawn(rng, config) for _ in range(max(part, default=-1) + 1)]
    return [drawn[row] for row in part]


def _drawn(rng: random.Random, config: ModelConfig) -> Chunking | None:
    is_whole, size = rng.random() < config.whole_share, rng.randint(*config.chunk_frames)
    left = rng.choice((None, rng.randint(1, MOST_LEFT)))
    return None if is_whole else Chunking(size, left)
