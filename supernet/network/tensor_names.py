"""The names of a network's tensors in checkpoints and models, now and formerly."""

from __future__ import annotations

TRAINING_ONLY = ("masks", "phase", "skipped_updates", "skipped_in_a_row")
"""Buffers that are needed only in training."""
SCORES = "scorer.scores"
"""The name of the units' importance in a saved model, regardless of the scorer used in training."""


def is_scorer(name: str) -> bool:
    """Whether a tensor of a network, possibly in a wrapper, belongs to its scorer."""
    return "scorer" in name.split(".")


def renamed(name: str) -> str:
    """The current name of a tensor, whose network may have been saved when every scorer was one score per
    unit.
    """
    return SCORES if name == "scores" else name


def is_adapter(name: str) -> bool:
    """Whether a tensor belongs to an adapter of `model.lora_rank`, under the library's names."""
    return ".lora_" in name
