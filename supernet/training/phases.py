"""Phases shared by methods: joint training of all sizes, and the passes of score learning."""

from __future__ import annotations

import random
from collections.abc import Sequence

from supernet.config import Config
from supernet.method import Moment, Phase
from supernet.plan import Gate, Pass, Plan
from supernet.units import Kept


def joint_training(num_steps: int, config: Config) -> list[Phase]:
    """Training of all sizes with fixed masks for ``num_steps``, at first only the smallest."""
    smallest = first_phase(config, num_steps)
    return [*smallest, Joint(num_steps - sum(phase.num_steps for phase in smallest), config)]


def first_phase(config: Config, num_steps: int | None = None) -> list[Phase]:
    """The phase of the smallest size, if it trains first in a part of the training with ``num_steps``; None:
    the whole training.
    """
    num_steps = config.train.num_steps if num_steps is None else num_steps
    first = round(num_steps * config.passes.smallest_first) if len(config.names) > 1 else 0
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

    def __init__(self, num_steps: int, config: Config) -> None:
        self.num_steps, self._config = num_steps, config

    def plan(self, moment: Moment) -> Plan:
        c, subnets = self._config.passes, moment.subnets
        names = list(subnets)[::-1]
        smallest = subnets[names[-1]]
        if c.sharing == "batch":
            names = _sandwich(names, moment.rng)
        shares = (c.shares or default_shares(names)) if c.sharing == "rows" else {}
        passes = []
        for name in names:
            is_full = subnets[name] == moment.table.full
            weight = 1.0 if name == names[0] else c.small_weight
            drop = drop_outside(smallest, c.layer_drop) if is_full else None
            read = is_full or c.intermediate_on == "every-pass"
            passes.append(Pass(name, subnets[name], weight, shares.get(name), drop=drop, intermediate=read))
        return Plan(tuple(passes))


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
