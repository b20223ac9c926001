"""Shapley values: the average gain from adding a unit when units are added one by one in random order."""

import random

from selection.evidence import Evidence
from selection.strategy import Ranking
from supernet.budget import Budget
from supernet.config import Section


class ShapleyOptions(Section):
    orders: int = 8
    seed: int = 0


class Shapley(Ranking[ShapleyOptions]):
    Options = ShapleyOptions

    def importance(self, evidence: Evidence, budget: Budget) -> list[float]:
        rng, n = random.Random(self.options.seed), budget.num_units
        helped: list[list[float]] = [[] for _ in range(n)]
        for _ in range(self.options.orders):
            order = rng.sample(range(n), n)
            growing = [tuple(i in order[:size] for i in range(n)) for size in range(1, n + 1)]
            losses = evidence.losses(growing)  # in one call: they share work
            for unit, before, after in zip(order[1:], losses, losses[1:], strict=False):
                helped[unit].append(before - after)
        return [sum(gains) / max(1, len(gains)) for gains in helped]
