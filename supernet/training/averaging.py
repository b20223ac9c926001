"""Averages of the weights over the updates of a training; those of each unit begin when it joins.

With a snapshot of the weights w after every P updates, the average after n of them is

    average(n) = average(n − P) + (w(n) − average(n − P)) · P / n

The averages are in the optimizer's state, which checkpoints contain and which has no gradients. A weight that
was never updated has none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from supernet.config import TrainConfig
from supernet.errors import UserError
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.tensor_names import is_scorer
from supernet.training.schedule import Schedule

AVERAGE, COUNT = "average", "num_averaged"
"""Of a parameter, in the optimizer's state: the average, and the number of its snapshots."""
SAMPLES = 8
"""Number of steps of a phase whose plans are looked at."""


class Joins:
    """The first step of each part of the network in the phases that train it, without a phase in between that
    does not.
    """

    def __init__(self, net: SupernetCTC, schedule: Schedule) -> None:
        self._net, self._schedule = net, schedule
        starts = [start for _, start in schedule.boundaries()]
        ends = [*starts[1:], schedule.num_steps]
        self._phases = [range(a, b) for a, b in zip(starts, ends, strict=True) if b > a]
        self._known: dict[int, dict[str, int]] = {}

    def at(self, step: int) -> Mapping[str, int]:
        """The first step of each part that the phase of the 0-based ``step``, which has begun, trains."""
        phase = next(i for i, steps in enumerate(self._phases) if step in steps)
        if phase not in self._known:
            before = {} if phase == 0 else self.at(self._phases[phase - 1][0])
            start = self._phases[phase][0]
            self._known[phase] = {part: before.get(part, start) for part in self._trained(phase)}
        return self._known[phase]

    def _trained(self, phase: int) -> set[str]:
        """The parts that a phase trains: units and heads."""
        steps, parts = self._phases[phase], set[str]()
        for step in {steps[len(steps) * i // SAMPLES] for i in range(SAMPLES)}:
            plan = self._schedule.plan(step)
            for p in plan.passes if plan.learning != "scorer" else ():
                parts |= {unit.name for unit, keep in zip(self._net.table.units, p.kept, strict=True) if keep}
                parts.add(f"heads.{p.budget if p.budget in self._net.heads else 'shared'}")
        return parts

    def parts(self) -> dict[str, set[str]]:
        """By name of a parameter that is not in every pass, the parts to which it belongs."""
        found, names = defaultdict[str, set[str]](set), {id(p): n for n, p in self._net.named_parameters()}
        encoder = self._net.encoder
        for unit in self._net.table.units:
            for weight in encoder.branches(unit.layer).weights(unit.module):
                found[names[id(weight)]].add(unit.name)
        for head, module in self._net.heads.items():
            for weight in module.parameters():
                found[names[id(weight)]].add(f"heads.{head}")
        return dict(found)


class Averages:
    """The averages of the weights of a training, but not of its scorer."""

    def __init__(
        self,
        net: SupernetCTC,
        schedule: Schedule,
        config: TrainConfig,
        optimizer: Optimizer,
    ) -> None:
        """
        Args:
            net: The network, without wrappers.
            schedule: The schedule of the training.
            config: The settings of the optimization.
            optimizer: Updates the weights, and keeps their averages.

        Raises:
            UserError: The network has batch statistics, which belong to its last weights.
        """
        self._joins, self._optimizer, self._every = Joins(net, schedule), optimizer, config.average_every
        self._start = round(config.num_steps * (1.0 if config.average_from is None else config.average_from))
        parts = self._joins.parts()
        named = ((name, weight) for name, weight in net.named_parameters() if not is_scorer(name))
        self._weights = {name: (weight, parts.get(name)) for name, weight in named}
        if config.average_from is not None:
            _require_no_batch_statistics(net)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take a snapshot after the 0-based ``step``, if it is time for one."""
        if step < self._start or (step + 1) % self._every:
            return
        joined = self._joins.at(step)
        alike = defaultdict[tuple[int, type], list[tuple[Tensor, Tensor]]](list)
        for weight, parts in self._weights.values():
            state, start = self._optimizer.state.get(weight), self._start
            if not state:  # never updated
                continue
            if parts is not None:
                starts = [joined[part] for part in parts if part in joined]
                if not starts:
                    continue
                start = max(
                    start, *starts
                )  # a weight of several units, which are parts of it: the last to join
            if COUNT not in state or step - self._every < start:
                state[AVERAGE], state[COUNT] = weight.detach().clone(), 1
            else:
                state[COUNT] += 1
                alike[state[COUNT], type(weight)].append((state[AVERAGE], weight.detach()))
        for (count, _), pairs in alike.items():
            averages, weights = zip(*pairs, strict=True)
            torch._foreach_lerp_(averages, weights, 1 / count)

    def result(self) -> dict[str, Tensor]:
        """The averages by name of the parameter; those that were never averaged are missing."""
        found = {name: self._optimizer.state.get(weight) or {} for name, (weight, _) in self._weights.items()}
        return {name: state[AVERAGE] for name, state in found.items() if AVERAGE in state}


def _require_no_batch_statistics(net: nn.Module) -> None:
    if found := [name for name, _ in net.named_buffers() if name.endswith("running_mean")]:
        raise UserError(
            "`train.average_from` must be left out with a network that has batch statistics, such as "
            f"'{found[0]}', which do not fit averaged weights, but is given."
        )
