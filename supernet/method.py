"""The interface of a training method: its phases, and how it chooses subnets.

A phase sees its own progress, never the global step. It changes state only when a step begins, and beginning
the same step again changes nothing more: a step whose gradients overflow is repeated.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel
from torch import Tensor

from supernet.config import Config
from supernet.training.step import Plan
from supernet.units import Kept, UnitTable

Subnets = Mapping[int, Kept]
"""The chosen subnet of every size."""


@dataclass(frozen=True)
class Progress:
    """Where a phase is: ``step`` runs from 0 to ``num_steps - 1``."""

    step: int
    num_steps: int


class Phase(ABC):
    """A stretch of training with one kind of plan."""

    name: ClassVar[str]
    num_steps: int
    chooses: ClassVar[bool] = False
    """Whether this phase needs the subnets of all sizes: they are chosen when the first such phase starts."""
    travel: ClassVar[float | None] = None
    """How far a score can go while the phase lasts, whether it has ten steps or ten thousand: sets their
    rate. None: the rate does not depend on the number of steps.
    """

    def begin(self, progress: Progress, scores_U: Tensor) -> None:  # noqa: B027 (optional)
        """Change ``scores_U`` in place as a step begins. Twice must equal once."""

    @abstractmethod
    def plan(self, progress: Progress, subnets: Subnets, rng: random.Random) -> Plan:
        """What the step runs. Changes nothing; ``rng`` is the same on every rank."""

    def gates(self, progress: Progress, scores_U: Tensor) -> Tensor | None:
        """Today's gates for the log, if this phase has any."""
        return None


class Method(ABC):
    """How a supernet is trained. Found through the entry-point group ``supernet.methods``.

    The engine asks for ``phases`` once and for ``choose`` when a phase that ``chooses`` starts; a method
    keeps no state of its own: scores live in the model.
    """

    Options: ClassVar[type[BaseModel]]
    """A pydantic model (``extra="forbid"``) of what ``method.*`` may be set to."""
    initial_score: ClassVar[float] = 0.0
    separate_runs: ClassVar[bool] = False
    """Whether each size is a run of its own (the yardstick) instead of a subnet of one."""

    def __init__(self, options: Any, config: Config) -> None:
        self.options, self.config = options, config
        self.table = UnitTable.of(config.num_layers, config.granularity, config.model.layer_type)
        self.sizes = tuple(sorted(config.sizes))

    @abstractmethod
    def phases(self) -> Sequence[Phase]:
        """The phases in order; their steps add up to ``config.train.num_steps``."""

    def travels(self) -> list[tuple[int, float | None]]:
        """Of each phase: its steps, and how far a score can go in them."""
        return [(phase.num_steps, phase.travel) for phase in self.phases()]

    def problems(self) -> list[str]:
        """What is wrong with these options for this configuration, in words for the user."""
        return []

    def choose(self, scores: Sequence[float], size: int) -> Kept:
        """The subnet of ``size``: by default hard top-k of the scores, so subnets are nested."""
        return self.table.top(scores, size)
