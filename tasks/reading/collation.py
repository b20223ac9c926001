"""Padded batches of utterances.

Shapes: B utterances, T frames, F values per frame, L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from supernet.audio.features import LOG_MEL, Input
from supernet.task import Batch
from supernet.text.tokens import Tokens
from tasks.audio.acoustics import Room
from tasks.store.index import Utterance


class Load(Protocol):
    """Loads the features ``(T, F)`` of an utterance, sped up by a factor, in a room."""

    def __call__(self, utterance: Utterance, speed: float = 1.0, room: Room | None = None) -> Tensor: ...


Condition = tuple[float, Room | None]
"""Speed and room in which an utterance is read."""


@dataclass(frozen=True)
class Collator:
    """Makes padded batches. Targets are the symbols of the texts that are tokens."""

    load: Load
    tokens: Tokens
    input: Input = LOG_MEL

    def __call__(self, utterances: Sequence[Utterance], conditions: Sequence[Condition]) -> Batch:
        """Make one batch of ``utterances``, in their order, each under its condition."""
        pairs = zip(utterances, conditions, strict=True)
        features = [self.load(utterance, speed, room).numpy() for utterance, (speed, room) in pairs]
        targets = [np.array(self.tokens.encode_known(utterance.text), np.int64) for utterance in utterances]
        return Batch(
            features_BTF=_pad(features),
            num_frames=[len(frames) for frames in features],
            targets_BL=_pad(targets),
            num_targets=[len(target) for target in targets],
            ids=[utterance.id for utterance in utterances],
            texts=[utterance.text for utterance in utterances],
            input=self.input,
        )


def _pad(sequences: list[np.ndarray[Any, Any]]) -> Tensor:
    """Stack, padded with zeros. In NumPy for the reason given in ``tasks.audio.augmentation``."""
    longest = max(len(sequence) for sequence in sequences)
    padded = np.zeros((len(sequences), longest, *sequences[0].shape[1:]), sequences[0].dtype)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(padded)
