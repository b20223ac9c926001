"""An example of a task: texts of letters, each letter a beep, generated on the fly."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import torch
from pydantic import Field
from torch.nn.utils.rnn import pad_sequence

from supernet.audio.features import pad_features
from supernet.audio.specification import NUM_BANDS
from supernet.config import Section
from supernet.task import Batch, BatchReader, ProgressCallback, Skipped, Task
from supernet.text.tokens import Tokens


class BeepsOptions(Section):
    batch_size: int = Field(default=4, ge=1)
    """The number of utterances in a training batch."""


class Beeps(Task):
    """Letters as tones: each letter is a loud band for ten frames."""

    name = "beeps"
    Options = BeepsOptions
    options: BeepsOptions

    def prepare(self, report: ProgressCallback) -> None:
        report("nothing", 1, 1)

    def tokens(self) -> Tokens:
        return Tokens.from_texts(["abc "])

    def train_reader(self, tokens: Tokens, *, seed: int, rank: int, num_ranks: int) -> BatchReader:
        return Reader(tokens, self.options.batch_size, f"{seed}/{rank}")

    def eval_batches(
        self, split: str, tokens: Tokens, *, rank: int = 0, num_ranks: int = 1
    ) -> Iterable[Batch]:
        return [batch(tokens, 4, f"{split}/{i}") for i in range(2)][rank::num_ranks]

    def skipped(self) -> list[Skipped]:
        return []


def batch(tokens: Tokens, size: int, seed: str) -> Batch:
    """Random texts and their features; the same for the same ``seed``."""
    rng = random.Random(seed)
    texts = [" ".join(rng.choice("abc") for _ in range(rng.randint(1, 3))) for _ in range(size)]
    targets = [torch.tensor(tokens.encode(text)) for text in texts]
    features = []
    for target in targets:
        x_TF = torch.zeros(10 * len(target), NUM_BANDS)
        for i, token in enumerate(target.tolist()):
            x_TF[10 * i : 10 * (i + 1), 9 * token] = 5.0
        features.append(x_TF)
    return Batch(
        pad_features(features),
        [len(x) for x in features],
        pad_sequence(targets, batch_first=True),
        [len(target) for target in targets],
        [f"{seed}/{i}" for i in range(size)],
        texts,
    )


class Reader:
    """An endless stream of batches, whose state is the number of batches returned."""

    def __init__(self, tokens: Tokens, size: int, seed: str) -> None:
        self._tokens, self._size, self._seed, self._number = tokens, size, seed, 0

    def __iter__(self) -> Reader:
        return self

    def __next__(self) -> Batch:
        self._number += 1
        return batch(self._tokens, self._size, f"{self._seed}/{self._number}")

    def state_dict(self) -> dict[str, object]:
        return {"number": self._number}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._number = state["number"]
