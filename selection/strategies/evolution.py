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
    """Options of ``evolution``."""

    population: Annotated[int, Field(ge=2)] = 24
    """Number of subnets in a generation."""
    generations: Positive = 8
    """Number of generations."""
    parents: Annotated[int, Field(ge=2)] = 8
    """Number of subnets, the best of a generation, that have children."""
    mutation: Fraction = 0.5
    """Share of children that are mutations of one parent; the others are crossovers of two."""
    seed: int = 0
    """Seed of all random draws."""


class Evolution(Strategy[EvolutionOptions]):
    """Mutation and crossover of the best subnets of each generation; all of them fit the budget."""

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
    """A random subnet with no room left for another unit."""
    return budget.fill(rng.sample(range(budget.num_units), budget.num_units))


def mutated(parent: Kept, budget: Budget, rng: random.Random) -> Kept:
    """A copy that loses one unit and is refilled at random; the lost unit is the last to be tried."""
    lost = rng.choice([i for i, keep in enumerate(parent) if keep])
    rest = tuple(keep and i != lost for i, keep in enumerate(parent))
    others = [i for i, keep in enumerate(parent) if not keep]
    return budget.fill([*rng.sample(others, len(others)), lost], start=rest)


def crossed(one: Kept, other: Kept, budget: Budget, rng: random.Random) -> Kept:
    """A child with the units of both parents first, then in random order those of either, then the others."""
    order = rng.sample(range(budget.num_units), budget.num_units)
    return budget.fill(sorted(order, key=lambda i: -(one[i] + other[i])))


def unique(subnets: Iterable[Kept]) -> list[Kept]:
    """The subnets without repetitions, in their order."""
    return list(dict.fromkeys(subnets))
