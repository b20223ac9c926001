"""A method that keeps evenly spaced units, and a task of beeps generated on the fly."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from pydantic import Field
from torch.nn.utils.rnn import pad_sequence

from supernet.audio.features import NUM_BANDS, pad_features
from supernet.budget import Budget
from supernet.config import Section
from supernet.method import Method, Phase
from supernet.scorer import Context
from supernet.task import Batch, BatchReader, ProgressCallback, Skipped, Task
from supernet.text.tokens import Tokens
from supernet.training.phases import Joint
from supernet.units import Kept


class UniformOptions(Section):
    offset: int = Field(default=0, ge=0)


class Uniform(Method[UniformOptions]):
    """Joint training of subnets with evenly spaced units from the first step on."""

    Options = UniformOptions

    def phases(self) -> Sequence[Phase]:
        return [Joint(self.config.train.num_steps, self.config)]

    def choose(self, context: Context, budget: Budget) -> Kept:
        count, size = len(self.table), budget.typical_size
        kept = {(self.options.offset + i * count // size) % count for i in range(size)}
        return tuple(i in kept for i in range(count))


class BeepsOptions(Section):
    batch_size: int = Field(default=4, ge=1)


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
