"""The schedule of a training: the phase, plan and chosen subnets of each step."""

from __future__ import annotations

import random
from typing import Any, Protocol

import torch
from torch import Tensor

from supernet.method import Method, Moment, Phase, Progress
from supernet.plan import Plan
from supernet.scorer import Context
from supernet.training.held_out import Side
from supernet.units import Kept


class ScheduleMemory(Protocol):
    """The model's buffers that hold the state of a schedule, and the context of its method."""

    masks: Tensor
    phase: Tensor

    @property
    def context(self) -> Context: ...


class Schedule:
    """Maps global steps to the phases of a method. All of its state is in ``memory``."""

    def __init__(self, method: Method[Any], memory: ScheduleMemory, seed: int) -> None:
        self.method, self._memory, self.seed = method, memory, seed
        self._phases, self._names = list(method.phases()), method.config.names
        self._subnets: dict[str, Kept] | None = None
        self._started: int | None = None

    @property
    def num_steps(self) -> int:
        return sum(phase.num_steps for phase in self._phases)

    def at(self, step: int) -> tuple[int, Phase, Progress]:
        """The phase of the 0-based global ``step``: its index, the phase and the progress in it. Steps beyond
        the end belong to the last phase.
        """
        for i, phase in enumerate(self._phases):
            if step < phase.num_steps or i == len(self._phases) - 1:
                return i, phase, Progress(step, phase.num_steps)
            step -= phase.num_steps
        raise AssertionError("a method has at least one phase")

    def boundaries(self) -> list[tuple[str, int]]:
        """The name of each phase and the global step at which it starts."""
        starts, start = [], 0
        for phase in self._phases:
            starts.append((phase.name, start))
            start += phase.num_steps
        return starts

    @torch.no_grad()
    def loss_names(self) -> set[str]:
        """The names of all loss terms in any phase."""
        names, candidates = {f"ctc/{name}" for name in self._names}, self._current()
        for phase in self._phases:
            subnets = candidates if phase.chooses else {}
            for step in range(phase.period):
                progress = Progress(step, max(step + 1, phase.num_steps))
                plan = phase.plan(Moment(progress, self.method.table, subnets, random.Random(0)))
                names.update(f"ctc/{p.name}" for p in plan.passes)
                if plan.penalties is not None and not step:
                    names.update(f"penalty/{name}" for name in plan.penalties(self._memory.context))
        return names

    @torch.no_grad()
    def begin(self, step: int) -> None:
        """Begin a step, choosing subnets if its phase is the first that needs them. Idempotent."""
        i, phase, _ = self.at(step)
        started = self._restored()
        if started < i:
            if self._subnets is None and any(p.chooses for p in self._phases[started + 1 : i + 1]):
                self._choose()
            self._memory.phase.fill_(i)
            self._started = i
        phase.begin(self._moment(step), self._memory.context)

    @torch.no_grad()
    def end(self, step: int, lr: float) -> None:
        """End a step, in which the optimizer updated the network with the learning rate ``lr``."""
        _, phase, _ = self.at(step)
        phase.after_step(self._moment(step), self._memory.context, lr)

    def plan(self, step: int) -> Plan:
        """The plan of the 0-based global ``step``."""
        _, phase, _ = self.at(step)
        return phase.plan(self._moment(step))

    def side(self, step: int) -> Side | None:
        """The training utterances that a step may see, where some are held out. None: all."""
        _, phase, _ = self.at(step)
        if not phase.held_out:
            return None
        return Side(phase.held_out, self.plan(step).learning == "scorer")

    def gates(self, step: int) -> Tensor | None:
        _, phase, _ = self.at(step)
        with torch.no_grad():
            return phase.gates(self._moment(step), self._memory.context)

    def _moment(self, step: int) -> Moment:
        _, phase, progress = self.at(step)
        subnets = self._subnets if self._subnets is not None else self._current() if phase.chooses else {}
        return Moment(progress, self.method.table, subnets, random.Random(f"{self.seed}/{step}"))

    def _restored(self) -> int:
        """The index of the phase that started last, read from the device once after a start or a resume."""
        if self._started is None:
            self._started = int(self._memory.phase)
            if bool(self._memory.masks.any()):
                self._subnets = self._mirror()
        return self._started

    def subnets(self) -> dict[str, Kept]:
        """The chosen subnets by budget name; until they are chosen, those that would be chosen now."""
        self._restored()
        return self._current() if self._subnets is None else self._subnets

    def _choose(self) -> None:
        self._subnets = self._current()
        masks = [self._subnets[name] for name in self._names]
        self._memory.masks.copy_(torch.tensor(masks, dtype=self._memory.masks.dtype))

    def _mirror(self) -> dict[str, Kept]:
        rows = self._memory.masks.tolist()
        return {name: tuple(map(bool, row)) for name, row in zip(self._names, rows, strict=True)}

    @torch.no_grad()
    def _current(self) -> dict[str, Kept]:
        context = self._memory.context
        return {budget.name: self.method.choose(context, budget) for budget in self.method.budgets}
