"""Phases shared by methods: joint training of all sizes, and the passes of score learning."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from supernet.config import Config
from supernet.method import Moment, Phase
from supernet.plan import Gate, Pass, Plan
from supernet.scorer import Context
from supernet.units import Kept


def joint_training(num_steps: int, config: Config) -> list[Phase]:
    """Training of all sizes with fixed masks for ``num_steps``, after stages of the smaller ones only."""
    found: list[Phase] = []
    before: str | None = None
    for name, count in stage_steps(config, num_steps).items():
        found.append(Smallest(count) if name == config.names[0] else Growing(count, config, name, before))
        before = name
    return [*found, Joint(num_steps - sum(phase.num_steps for phase in found), config, before=before)]


def stage_steps(config: Config, num_steps: int) -> dict[str, int]:
    """The updates of each stage, by the name of its largest size, where ``num_steps`` are left in all."""
    passes, names = config.passes, config.names
    shares = {names[0]: passes.smallest_first} if passes.stages is None else passes.stages
    counts = {name: round(num_steps * share) for name, share in shares.items() if len(names) > 1}
    return {name: count for name, count in counts.items() if count}


def first_phase(config: Config, num_steps: int | None = None) -> list[Phase]:
    """The phase of the smallest size, if it trains first in a part of the training with ``num_steps``; None:
    the whole training.
    """
    count = stage_steps(config, config.train.num_steps if num_steps is None else num_steps)
    first = count.get(config.names[0], 0)
    return [Smallest(first)] if first else []


class Smallest(Phase):
    """The smallest subnet on the whole batch. The larger ones contain it and grow from what it has learned,
    like networks whose depth grows during training (arXiv 2010.12562).
    """

    name = "smallest size"
    chooses = True

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps

    def plan(self, moment: Moment) -> Plan:
        name, kept = next(iter(moment.subnets.items()))
        return Plan((Pass(name, kept),))


class Joint(Phase):
    """All sizes trained together with fixed masks: the sandwich rule (arXiv 1903.05134, 2407.18930)."""

    name = "joint"
    chooses = True

    def __init__(self, num_steps: int, config: Config, *, before: str | None = None) -> None:
        """``before``: the largest size of the stage before; None if there is none."""
        self.num_steps, self._config, self._before = num_steps, config, before

    def begin(self, moment: Moment, context: Context) -> None:
        """Give the units that join the weights of trained ones, if the configuration wants that."""
        if self._before is None or moment.progress.step or self._config.passes.new_units == "keep":
            return
        copy_neighbors(context, moment.subnets[self._before], moment.subnets[self._names(moment)[0]])

    def _names(self, moment: Moment) -> list[str]:
        """The sizes that are trained, the largest first."""
        return list(moment.subnets)[::-1]

    def plan(self, moment: Moment) -> Plan:
        c, subnets = self._config.passes, moment.subnets
        names = self._names(moment)
        smallest = subnets[names[-1]]
        if c.sharing == "batch":
            names = _sandwich(names, moment.rng)
        shares = _shares(c.shares, names) if c.sharing == "rows" else {}
        passes = []
        for name in names:
            is_full = subnets[name] == moment.table.full
            weight = 1.0 if name == names[0] else c.small_weight
            drop = drop_outside(smallest, c.layer_drop) if is_full else None
            read = is_full or c.intermediate_on == "every-pass"
            passes.append(Pass(name, subnets[name], weight, shares.get(name), drop=drop, intermediate=read))
        return Plan(tuple(passes))


class Growing(Joint):
    """The sizes up to one of them, trained together."""

    name = "growing"

    def __init__(self, num_steps: int, config: Config, largest: str, before: str | None) -> None:
        super().__init__(num_steps, config, before=before)
        self._largest = largest

    def _names(self, moment: Moment) -> list[str]:
        names = list(moment.subnets)
        return names[: names.index(self._largest) + 1][::-1]


def copy_neighbors(context: Context, trained: Kept, wanted: Kept) -> None:
    """Give each unit of ``wanted`` that is not yet ``trained`` the weights of the nearest trained unit of the
    same kind, the earlier of two, in place (as networks are stacked in arXiv 2011.13635). A unit without
    such a neighbor keeps its own.
    """
    units, weights = context.table.units, context.weights
    sources = [unit for unit, keeps in zip(units, trained, strict=True) if keeps]
    for unit, is_trained, joins in zip(units, trained, wanted, strict=True):
        mine = weights.get(unit.name, ())
        alike = [
            other
            for other in sources
            if other.module == unit.module
            and [x.shape for x in weights.get(other.name, ())] == [x.shape for x in mine]
        ]
        if is_trained or not joins or not alike:
            continue
        order = [(abs(other.layer - unit.layer), other.layer, other.part != unit.part) for other in alike]
        nearest = alike[order.index(min(order))]
        for x, source in zip(mine, weights[nearest.name], strict=True):
            x.copy_(source)


def _shares(given: Mapping[str, float] | None, names: Sequence[str]) -> Mapping[str, float]:
    """The share of the rows of each size that is trained."""
    if given is None:
        return default_shares(names)
    total = sum(given[name] for name in names)
    return given if len(names) == len(given) else {name: given[name] / total for name in names}


def _sandwich(names: list[str], rng: random.Random) -> list[str]:
    """The largest, the smallest and a random one in between; all of them if there are at most three."""
    return names if len(names) <= 3 else [names[0], rng.choice(names[1:-1]), names[-1]]


def default_shares(names: Sequence[str]) -> dict[str, float]:
    """Shares of 6 : 3 : 1 for the smallest budget, the largest and all others together; ``names`` are ordered
    from largest to smallest.

    The smallest has the largest share because its rows are the cheapest and the larger sizes, which contain
    all its units, learn from them as well (docs/results/2026-11-21-row-shares.md).
    """
    largest, *between, smallest = names if len(names) > 1 else (*names, *names)
    parts = {smallest: 6.0, largest: 3.0} | {name: 1 / len(between) for name in reversed(between)}
    return {name: parts[name] / sum(parts.values()) for name in names}


def drop_outside(smallest: Kept, p: float) -> tuple[float, ...] | None:
    """Stochastic depth with probability ``p`` for all units outside the smallest subnet."""
    return tuple(0.0 if keep else p for keep in smallest) if p else None


def learning_passes(config: Config, full: Kept, gate: Gate, budget: str | None = None) -> tuple[Pass, Pass]:
    """The passes of score learning: the full network without gates, and gated for a size or budget, the
    smallest by default. Both run on the whole batch, or each on its share of the rows.
    """
    c = config.passes
    by_rows = c.sharing == "rows"
    plain, gated = (1 - c.gated_share, c.gated_share) if by_rows else (None, None)
    read = c.intermediate_on == "every-pass"
    return (
        Pass(config.names[-1], full, 1.0, plain),
        Pass(budget or config.names[0], full, c.small_weight, gated, gate=gate, intermediate=read),
    )
