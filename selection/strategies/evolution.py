"""Evolutionary search under the budget (as in Once-for-all, arXiv 1908.09791)."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from selection.evidence import Evidence
from selection.strategy import Strategy
from supernet.budget import Budget
from supernet.config import Fraction, Section
from supernet.units import Kept

Positive = Annotated[int, Field(ge=1)]


class EvolutionOptions(Section):
    population: Annotated[int, Field(ge=2)] = 24
    """Subnets of a generation."""
    generations: Positive = 8
    """How many generations there are."""
    parents: Annotated[int, Field(ge=2)] = 8
    """How many of the best have children."""
    mutation: Fraction = 0.5
    """The share of the children that are mutated copies; the others are crossed."""
    seed: int = 0
    """Seed of everything that is drawn."""


class Evolution(Strategy):
    """Mutate and cross the best subnets of each generation; every one of them fits the budget."""

    Options = EvolutionOptions

    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        rng = random.Random(f"{self.options.seed}/{budget.name}")
        population = unique(drawn(budget, rng) for _ in range(self.options.population))
        for _ in range(self.options.generations):
            parents = self._fittest(evidence, population)
            children = (self._child(parents, budget, rng) for _ in range(self.options.population))
            population = unique([*parents, *children])
        return self._fittest(evidence, population)[0]

    def _fittest(self, evidence: Evidence, population: list[Kept]) -> list[Kept]:
        losses = dict(zip(population, evidence.losses(population), strict=True))
        return sorted(population, key=lambda kept: losses[kept])[: self.options.parents]

    def _child(self, parents: list[Kept], budget: Budget, rng: random.Random) -> Kept:
        if len(parents) < 2 or rng.random() < self.options.mutation:
            return mutated(rng.choice(parents), budget, rng)
        one, other = rng.sample(parents, 2)
        return crossed(one, other, budget, rng)


def drawn(budget: Budget, rng: random.Random) -> Kept:
    """A random subnet that leaves no room for another unit."""
    return budget.fill(rng.sample(range(budget.num_units), budget.num_units))


def mutated(parent: Kept, budget: Budget, rng: random.Random) -> Kept:
    """Without one of its units, and filled up again at random, the lost one last."""
    lost = rng.choice([i for i, keep in enumerate(parent) if keep])
    rest = tuple(keep and i != lost for i, keep in enumerate(parent))
    others = [i for i, keep in enumerate(parent) if not keep]
    return budget.fill([*rng.sample(others, len(others)), lost], start=rest)


def crossed(one: Kept, other: Kept, budget: Budget, rng: random.Random) -> Kept:
    """What both keep, then at random what one of them keeps, then the rest."""
    order = rng.sample(range(budget.num_units), budget.num_units)
    return budget.fill(sorted(order, key=lambda i: -(one[i] + other[i])))


def unique(subnets: Iterable[Kept]) -> list[Kept]:
    """Each once, in their order."""
    return list(dict.fromkeys(subnets))
