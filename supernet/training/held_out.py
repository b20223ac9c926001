"""A slice of the training data that is held out for the scorer: the weights do not learn from the utterances
on which units are compared.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from supernet.config import Config
from supernet.errors import UserError
from supernet.task import Batch, BatchReader
from supernet.training.division import part_of

HeldOut = Annotated[float, Field(ge=0, lt=1)]
"""A setting: a share of the training utterances."""
LEAST = 0.5
"""The least number of utterances of a step, as a share of those of a batch."""
PATIENCE = 8
"""The most batches that are read for a step, as a multiple of the inverse of the smaller share."""


@dataclass(frozen=True)
class Side:
    """The utterances that a step may see: those held out for the scorer, or all others."""

    share: float
    """The share of the utterances that are held out."""
    is_held_out: bool

    def has(self, id: str) -> bool:
        """Whether this utterance is on this side; depends on nothing but its id."""
        digest = hashlib.blake2b(id.encode(), digest_size=8).digest()
        return (int.from_bytes(digest, "big") < self.share * 2**64) == self.is_held_out

    @property
    def rows(self) -> float:
        """The number of utterances of a step to expect, as a share of those of a batch."""
        share = self.share if self.is_held_out else 1 - self.share
        return share * math.ceil(LEAST / share)


def next_batch(reader: BatchReader, side: Side | None) -> Batch:
    """The next batch of a step: the utterances of ``side`` from as many batches as fill half of one.

    Args:
        reader: The training data.
        side: The utterances that the step may see. None: all.

    Raises:
        UserError: The training split has no such utterances.
    """
    if side is None:
        return next(reader)
    parts, count, wanted = list[Batch](), 0, 1.0
    for number in range(math.ceil(PATIENCE / min(side.share, 1 - side.share))):
        batch = next(reader)
        wanted = wanted if number else LEAST * len(batch)
        if rows := [row for row, id in enumerate(batch.ids) if side.has(id)]:
            parts.append(part_of(batch, rows))
            count += len(rows)
        if count >= wanted:
            break
    if not parts:
        which = "on both sides" if side.is_held_out else "besides those that are held out"
        raise UserError(
            f"`method.held_out` must leave training utterances {which}, but {side.share:g} of so few does "
            "not. Set it to 0 to train weights and scorer on the same utterances."
        )
    return joined(parts)


def joined(batches: Sequence[Batch]) -> Batch:
    """The utterances of several batches as one."""
    first, *others = batches
    if not others:
        return first
    hidden = [batch.hidden_BTF for batch in batches if batch.hidden_BTF is not None]
    return replace(
        first,
        features_BTF=_stacked([batch.features_BTF for batch in batches]),
        num_frames=[n for batch in batches for n in batch.num_frames],
        targets_BL=_stacked([batch.targets_BL for batch in batches]),
        num_targets=[n for batch in batches for n in batch.num_targets],
        ids=[id for batch in batches for id in batch.ids],
        texts=[text for batch in batches for text in batch.texts],
        hidden_BTF=_stacked(hidden) if hidden else None,
    )


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """Tensors (B, T, …) below each other, padded with zeros to the longest."""
    width = max(part.size(1) for part in parts)
    after = [0, 0] * (parts[0].ndim - 2)
    return torch.cat([F.pad(part, (*after, 0, width - part.size(1))) for part in parts])


def precision_problems(share: float, config: Config) -> list[str]:
    """The reason why this share of the utterances cannot be held out, for the user; empty if it can.

    Updates whose gradients overflow in float16 are repeated with the next batch, which is chosen for the next
    update.
    """
    if share and config.train.precision == "float16":
        return [
            "`train.precision` must be float32 or bfloat16 with `method.held_out`, but is float16 instead; "
            "set `method.held_out` to 0 otherwise"
        ]
    return []
