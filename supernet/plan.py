"""One training step as plain data: a plan of passes and the batch rows of each pass.

Shapes: U units.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from supernet.scorer import Context
from supernet.units import Kept

Gate = Callable[[Context], Tensor]
"""The gates (U,) of a pass, differentiable; evaluated inside the model's forward."""

Penalties = Callable[[Context], Mapping[str, Tensor]]
"""Scalar loss terms by name, differentiable; evaluated inside the model's forward."""

Learning = Literal["everything", "weights", "scorer"]


@dataclass(frozen=True)
class Pass:
    """One run of a subnet over some or all rows of a batch."""

    budget: str
    """The name of the budget that the loss belongs to; determines the head."""
    kept: Kept
    weight: float = 1.0
    share: float | None = None
    """Share of the batch's rows. None: all rows. Passes with shares split the batch among themselves."""
    gate: Gate | None = None
    drop: tuple[float, ...] | None = None
    """Stochastic depth (arXiv 1603.09382): for each unit, the probability that an utterance skips it."""
    intermediate: bool = True
    """Whether this pass has intermediate losses."""

    @property
    def name(self) -> str:
        return self.budget if self.gate is None else f"{self.budget}-gated"


@dataclass(frozen=True)
class Plan:
    """The passes of a step, identical on every rank."""

    passes: tuple[Pass, ...]
    penalties: Penalties | None = None
    learning: Learning = "everything"
    """The parameters that this step updates: those of the network and the scorer, or only those of one.
    Bi-level methods alternate between the two.
    """


@dataclass(frozen=True)
class Draw:
    """The seed of one micro-batch on one rank: the only randomness in a step besides dropout."""

    seed: int = 0
    step: int = 0
    rank: int = 0
    micro_batch: int = 0

    def random(self, *what: str) -> random.Random:
        """A random stream, a separate one for each purpose ``what``."""
        return random.Random("/".join(map(str, (self.seed, self.step, self.rank, self.micro_batch, *what))))


@dataclass(frozen=True)
class Step:
    """A plan resolved for one batch."""

    plan: Plan
    rows: tuple[range, ...]
    """The rows of each pass in the whole batch."""
    draw: Draw = field(default_factory=Draw)
    part: tuple[int, ...] | None = None
    """If this process has only some rows of the batch: which, in ascending order."""
