"""The phases that methods have in common: all sizes trained together, and the passes that learn scores."""

from __future__ import annotations

import random
from collections.abc import Sequence

from supernet.config import Config
from supernet.method import Moment, Phase
from supernet.plan import Gate, Pass, Plan
from supernet.units import Kept


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

    def plan(self, moment: Moment) -> Plan:
        size = min(moment.subnets)
        return Plan((Pass(size, moment.subnets[size]),))


class Joint(Phase):
    """All sizes trained together with fixed masks: the sandwich rule (arXiv 1908.09791, 2407.18930)."""

    name = "joint"
    chooses = True

    def __init__(self, num_steps: int, config: Config) -> None:
        self.num_steps, self._config = num_steps, config

    def plan(self, moment: Moment) -> Plan:
        c, subnets = self._config.passes, moment.subnets
        sizes = sorted(subnets, reverse=True)
        if c.sharing == "batch":
            sizes = _sandwich(sizes, moment.rng)
        shares = (c.shares or default_shares(sizes)) if c.sharing == "rows" else {}
        passes = []
        for size in sizes:
            is_full = subnets[size] == moment.table.full
            weight = 1.0 if size == sizes[0] else c.small_weight
            drop = drop_outside(subnets[min(subnets)], c.layer_drop) if is_full else None
            read = is_full or c.intermediate_on == "every-pass"
            passes.append(Pass(size, subnets[size], weight, shares.get(size), drop=drop, intermediate=read))
        return Plan(tuple(passes))


def _sandwich(sizes: list[int], rng: random.Random) -> list[int]:
    """The largest, the smallest and one in between; all of them where there are three or fewer."""
    return sizes if len(sizes) <= 3 else [sizes[0], rng.choice(sizes[1:-1]), sizes[-1]]


def default_shares(sizes: Sequence[int]) -> dict[int, float]:
    """Six parts for the smallest size, three for the largest, one for all between.

    The smallest gets the most: larger sizes keep all its units and learn from its rows, too, and its rows are
    the cheapest (docs/results/2026-11-21-row-shares.md).
    """
    smallest, *between, largest = sorted(sizes) if len(sizes) > 1 else (*sizes, *sizes)
    parts = {smallest: 6.0, largest: 3.0} | {size: 1 / len(between) for size in between}
    return {size: parts[size] / sum(parts.values()) for size in sizes}


def drop_outside(smallest: Kept, p: float) -> tuple[float, ...] | None:
    """Stochastic depth of probability ``p`` for the units that the smallest subnet does not keep."""
    return tuple(0.0 if keep else p for keep in smallest) if p else None


def learning_passes(config: Config, full: Kept, gate: Gate) -> tuple[Pass, Pass]:
    """Score learning: the full net, and the same net gated for the smallest size (both on the batch, or each
    on its share of the rows).
    """
    c = config.passes
    by_rows = c.sharing == "rows"
    plain, gated = (1 - c.gated_share, c.gated_share) if by_rows else (None, None)
    read = c.intermediate_on == "every-pass"
    return (
        Pass(max(config.sizes), full, 1.0, plain),
        Pass(min(config.sizes), full, c.small_weight, gated, gate=gate, intermediate=read),
    )
