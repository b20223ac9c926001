"""Who competes in a comparison, and which trainings that takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from selection.study.definition import CompareDefinition, Regime
from supernet.compute import price
from supernet.resolve import Data, Resolved


@dataclass(frozen=True)
class Training:
    """One run."""

    method: str
    sizes: tuple[int, ...]
    steps: int
    seed: int
    is_alone: bool

    @property
    def label(self) -> str:
        """The method, and the size where it is trained alone."""
        return f"{self.method} {self.sizes[0]}" if self.is_alone else self.method

    @property
    def name(self) -> str:
        """Of the run's folder."""
        return f"{self.label.replace(' ', '-')}-{self.steps}-seed{self.seed}"

    def changes(self) -> Data:
        """What makes it differ from the study's settings."""
        return {
            "method": self.method,
            "sizes": list(self.sizes),
            "seed": self.seed,
            "train": {"num_steps": self.steps},
        }


@dataclass(frozen=True)
class Contender:
    """A method, and the strategy that chooses from what it has trained. None: the subnets it was trained
    with.
    """

    method: str
    strategy: str | None

    @property
    def name(self) -> str:
        return self.method if self.strategy is None else f"{self.method}, {self.strategy}"


class Field:
    """All contenders, and the training that each needs for a regime, size and seed."""

    def __init__(self, definition: CompareDefinition) -> None:
        self.definition = definition
        base = definition.resolved()
        self.sizes = tuple(sorted(base.config.sizes))
        self.full_steps = base.config.train.num_steps
        """Updates of the full net alone, which all regimes start from."""
        self._methods = {name: definition.resolved({"method": name}) for name in definition.methods}
        self._steps = {
            (regime, name): steps_of(regime, resolved, self.full_steps)
            for regime in definition.regimes
            for name, resolved in self._methods.items()
        }

    @property
    def contenders(self) -> list[Contender]:
        chosen = self.definition.methods.items()
        return [
            Contender(name, strategy) for name, strategies in chosen for strategy in strategies or (None,)
        ]

    def training(self, regime: Regime, contender: Contender, size: int, seed: int) -> Training:
        """The run that gives ``contender`` its net of ``size``."""
        alone = self._methods[contender.method].method.separate_runs
        sizes = (size,) if alone else self.sizes
        return Training(contender.method, sizes, self._steps[regime, contender.method][size], seed, alone)

    def trainings(self) -> list[Training]:
        """All runs, each once; seed by seed, so that a first verdict is there early."""
        return list(dict.fromkeys(self._all()))

    def _all(self) -> Iterator[Training]:
        for seed in self.definition.seeds:
            for regime in self.definition.regimes:
                for contender in self.contenders:
                    for size in reversed(self.sizes):
                        yield self.training(regime, contender, size, seed)


def steps_of(regime: Regime, resolved: Resolved, full_steps: int) -> dict[int, int]:
    """By size, the updates of a method where the full net alone gets ``full_steps``.

    ``updates``: as many. ``compute``: as many as cost no more units run forward and backward by a row (see
    :mod:`supernet.compute`) than the full net's; where sizes are trained alone, all of them together.
    ``compute-each``: the same, but each size alone for the whole of it.
    """
    sizes = resolved.config.sizes
    budget = full_steps * max(sizes)
    if regime == "updates":
        return dict.fromkeys(sizes, full_steps)
    if resolved.method.separate_runs:
        together = sum(sizes)
        return {size: round(budget / (together if regime == "compute" else size)) for size in sizes}
    return dict.fromkeys(sizes, whole_hundreds(full_steps * budget / price(resolved)))


def whole_hundreds(steps: float) -> int:
    """``steps`` rounded down, so that tables read well; fewer than a hundred as they are."""
    return int(steps // 100 * 100) or int(steps)
