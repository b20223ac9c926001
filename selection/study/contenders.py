"""Who competes in a comparison, and which trainings that takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from selection.study.definition import CompareDefinition, Contender, Regime
from supernet.config import Config
from supernet.runs.resolve import Resolved
from supernet.settings.presets import Data
from supernet.training.price import alone, price


@dataclass(frozen=True)
class Training:
    """One run."""

    way: str
    """How: the name of a method or of a variant."""
    sizes: tuple[int, ...]
    steps: int
    seed: int
    is_alone: bool

    @property
    def label(self) -> str:
        """The way, and the size where it is trained alone."""
        return f"{self.way} {self.sizes[0]}" if self.is_alone else self.way

    @property
    def name(self) -> str:
        """Of the run's folder."""
        return f"{self.label.replace(' ', '-')}-{self.steps}-seed{self.seed}"

    def changes(self) -> Data:
        """What makes it differ from other trainings of the same way."""
        return {
            "sizes": list(self.sizes),
            "seed": self.seed,
            "train": {"num_steps": self.steps},
        }


class Lineup:
    """All contenders, and the training that each needs for a regime, size and seed."""

    def __init__(self, definition: CompareDefinition) -> None:
        self.definition = definition
        base = definition.resolved()
        self.contenders = definition.contenders
        self.sizes = tuple(sorted(base.config.sizes))
        self._ways = {name: definition.resolved(changes) for name, changes in definition.ways.items()}
        self._steps = {
            (regime, name): steps_of(regime, resolved, base)
            for regime in definition.regimes
            for name, resolved in self._ways.items()
        }

    def training(self, regime: Regime, contender: Contender, size: int, seed: int) -> Training:
        """The run that gives ``contender`` its net of ``size``."""
        alone = self._ways[contender.way].method.separate_runs
        sizes = (size,) if alone else self.sizes
        return Training(contender.way, sizes, self._steps[regime, contender.way][size], seed, alone)

    def trainings(self) -> list[Training]:
        """All runs, each once; seed by seed, so that a first verdict is there early."""
        return list(dict.fromkeys(self._all()))

    def _all(self) -> Iterator[Training]:
        for seed in self.definition.seeds:
            for regime in self.definition.regimes:
                yield from self._needed(regime, seed)

    def _needed(self, regime: Regime, seed: int) -> Iterator[Training]:
        for contender in self.contenders:
            for size in reversed(self.sizes):
                yield self.training(regime, contender, size, seed)

    def needed(self, regime: Regime) -> list[str]:
        """The names of the runs of a regime, each once."""
        seeds = self.definition.seeds
        return list(dict.fromkeys(run.name for seed in seeds for run in self._needed(regime, seed)))


def steps_of(regime: Regime, resolved: Resolved, base: Resolved) -> dict[int, int]:
    """By size, the updates of a way of training where the full net alone gets those of ``base``.

    ``updates``: as many. ``compute``: as many as cost no more units run forward and backward by a row (see
    ``supernet.training.price``), times the speech in a batch, than the full net's; where sizes are trained
    alone, all of them together. ``compute-each``: the same, but each size alone for the whole of it.
    """
    sizes, full_steps = resolved.config.sizes, base.config.train.num_steps
    budget = full_steps * alone(base.config, max(sizes)) * seconds_a_step(base.config)
    budget /= seconds_a_step(resolved.config)
    if regime == "updates":
        return dict.fromkeys(sizes, full_steps)
    if resolved.method.separate_runs:
        costs = {size: alone(resolved.config, size) for size in sizes}
        together = sum(costs.values())
        return {size: round(budget / (together if regime == "compute" else costs[size])) for size in sizes}
    return dict.fromkeys(sizes, whole_hundreds(full_steps * budget / price(resolved.method)))


def seconds_a_step(config: Config) -> float:
    """Speech that an update hears; 1 for tasks that do not count it."""
    return float(config.task.options.get("batch_seconds", 1.0)) * config.train.accumulate


def whole_hundreds(steps: float) -> int:
    """``steps`` rounded down, so that tables read well; fewer than a hundred as they are."""
    return int(steps // 100 * 100) or int(steps)
