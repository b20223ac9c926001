"""Training as a row of phases, and how a method describes itself.

A phase sees its own progress, never the global step; what it changes, it changes when a step begins, and
beginning a step twice changes nothing more (a step that overflows is repeated).
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from pydantic import BaseModel
from torch import Tensor

from supernet.config import Config
from supernet.training.step import Pass, Plan
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


class ScheduleMemory(Protocol):
    """The tensors of the model in which a schedule remembers where it is."""

    scores: torch.nn.Parameter
    masks: Tensor
    phase: Tensor


class Schedule:
    """Walks through a method's phases by the global step. Everything it must remember is in ``memory``."""

    def __init__(self, method: Method, memory: ScheduleMemory, seed: int) -> None:
        self._method, self._memory, self._seed = method, memory, seed
        self._phases = list(method.phases())
        self._subnets: dict[int, Kept] | None = None
        self._started: int | None = None

    @property
    def num_steps(self) -> int:
        return sum(phase.num_steps for phase in self._phases)

    def at(self, step: int) -> tuple[int, Phase, Progress]:
        """The phase of the 0-based global ``step``; the last one where it is beyond the end."""
        for i, phase in enumerate(self._phases):
            if step < phase.num_steps or i == len(self._phases) - 1:
                return i, phase, Progress(step, phase.num_steps)
            step -= phase.num_steps
        raise AssertionError("a method has at least one phase")

    def boundaries(self) -> list[tuple[str, int]]:
        """Each phase's name and the global step with which it starts."""
        starts, start = [], 0
        for phase in self._phases:
            starts.append((phase.name, start))
            start += phase.num_steps
        return starts

    def loss_names(self) -> set[str]:
        """The names of all loss terms that any phase can give."""
        names = {f"ctc/{size}" for size in self._method.sizes}
        for phase in self._phases:
            plan = phase.plan(Progress(0, max(1, phase.num_steps)), self._unchosen(), random.Random(0))
            names.update(f"ctc/{p.name}" for p in plan.passes)
            if plan.penalties is not None:
                names.update(f"penalty/{name}" for name in plan.penalties(self._memory.scores.detach()))
        return names

    @torch.no_grad()
    def begin(self, step: int) -> None:
        """Called as each step begins; a repeated step calls it again."""
        i, phase, progress = self.at(step)
        started = self._restored()
        if started < i:
            if self._subnets is None and any(p.chooses for p in self._phases[started + 1 : i + 1]):
                self._choose()
            self._memory.phase.fill_(i)
            self._started = i
        phase.begin(progress, self._memory.scores)

    def plan(self, step: int) -> Plan:
        """What the 0-based global ``step`` runs."""
        _, phase, progress = self.at(step)
        rng = random.Random(f"{self._seed}/{step}")
        return phase.plan(progress, self._subnets or self._unchosen(), rng)

    def gates(self, step: int) -> Tensor | None:
        _, phase, progress = self.at(step)
        with torch.no_grad():
            return phase.gates(progress, self._memory.scores)

    def _restored(self) -> int:
        """The phase that has started last. Memory is read from the device once, after a start or a resume."""
        if self._started is None:
            self._started = int(self._memory.phase)
            if bool(self._memory.masks.any()):
                self._subnets = self._mirror()
        return self._started

    def subnets(self) -> dict[int, Kept]:
        """The chosen subnets; before they are chosen, today's candidates."""
        self._restored()
        return self._current() if self._subnets is None else self._subnets

    @torch.no_grad()
    def _choose(self) -> None:
        self._subnets = self._current()
        masks = [self._subnets[size] for size in self._method.sizes]
        self._memory.masks.copy_(torch.tensor(masks, dtype=self._memory.masks.dtype))

    def _mirror(self) -> dict[int, Kept]:
        rows = self._memory.masks.tolist()
        return {size: tuple(map(bool, row)) for size, row in zip(self._method.sizes, rows, strict=True)}

    def _unchosen(self) -> dict[int, Kept]:
        """What phases see before the choice: sizes and widths are known, and asking the device for scores
        would wait.
        """
        return {size: (True,) * self._memory.masks.size(1) for size in self._method.sizes}

    def _current(self) -> dict[int, Kept]:
        scores = self._memory.scores.detach().tolist()
        return {size: self._method.choose(scores, size) for size in self._method.sizes}


def joint_training(num_steps: int, config: Config) -> list[Phase]:
    """All sizes trained with fixed masks for ``num_steps``: for a part of them the smallest alone."""
    first = round(num_steps * config.passes.smallest_first) if len(config.sizes) > 1 else 0
    smallest = [Smallest(first)] if first else []
    return [*smallest, Joint(num_steps - first, config)]


class Smallest(Phase):
    """The smallest subnet on the whole batch. The larger ones hold all of it and grow from what it learns, as
    nets do that are made deeper while they train (arXiv 2010.12562).
    """

    name = "smallest size"
    chooses = True

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps

    def plan(self, progress: Progress, subnets: Subnets, rng: random.Random) -> Plan:
        size = min(subnets)
        return Plan((Pass(size, subnets[size]),))


class Joint(Phase):
    """All sizes trained together with fixed masks: the sandwich rule (arXiv 1908.09791, 2407.18930)."""

    name = "joint"
    chooses = True

    def __init__(self, num_steps: int, config: Config) -> None:
        self.num_steps, self._config = num_steps, config

    def plan(self, progress: Progress, subnets: Subnets, rng: random.Random) -> Plan:
        c = self._config.passes
        sizes = sorted(subnets, reverse=True)
        if c.sharing == "batch":
            sizes = _sandwich(sizes, rng)
        num_units = len(subnets[sizes[0]])
        full = (True,) * num_units
        shares = (c.shares or default_shares(sizes)) if c.sharing == "rows" else {}
        passes = []
        for size in sizes:
            is_full = subnets[size] == full
            weight = 1.0 if size == sizes[0] else c.small_weight
            drop = drop_outside(subnets[min(subnets)], c.layer_drop) if is_full else None
            read = is_full or c.intermediate_on == "every-pass"
            passes.append(Pass(size, subnets[size], weight, shares.get(size), drop=drop, intermediate=read))
        return Plan(tuple(passes))


def _sandwich(sizes: list[int], rng: random.Random) -> list[int]:
    """The largest, the smallest and one in between; all of them where there are three or fewer."""
    return sizes if len(sizes) <= 3 else [sizes[0], rng.choice(sizes[1:-1]), sizes[-1]]


def default_shares(sizes: Sequence[int]) -> dict[int, float]:
    """Six parts for the smallest size, three for the largest, one for all between (LOG.md).

    The smallest gets the most: larger sizes keep all its units and learn from its rows, too, and its rows are
    the cheapest.
    """
    smallest, *between, largest = sorted(sizes) if len(sizes) > 1 else (*sizes, *sizes)
    parts = {smallest: 6.0, largest: 3.0} | {size: 1 / len(between) for size in between}
    return {size: parts[size] / sum(parts.values()) for size in sizes}


def drop_outside(smallest: Kept, p: float) -> tuple[float, ...] | None:
    """Stochastic depth of probability ``p`` for the units that the smallest subnet does not keep."""
    return tuple(0.0 if keep else p for keep in smallest) if p else None


def learning_passes(config: Config, gate_size: int, full: Kept, gate: Any) -> tuple[Pass, Pass]:
    """Score learning: the full net, and the same net gated (every size on the batch, or each on half of the
    rows).
    """
    c = config.passes
    by_rows = c.sharing == "rows"
    plain, gated = (1 - c.gated_share, c.gated_share) if by_rows else (None, None)
    read = c.intermediate_on == "every-pass"
    return (
        Pass(max(config.sizes), full, 1.0, plain),
        Pass(gate_size, full, c.small_weight, gated, gate=gate, intermediate=read),
    )
