"""The contenders of a comparison, and the trainings that they need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from selection.study.definition import CompareDefinition, Contender, Regime
from supernet.config import Config
from supernet.runs.resolve import Resolved
from supernet.settings.presets import Data
from supernet.training.compute import expected_unit_steps, unit_steps_alone, update_alone
from supernet.units import Kept


@dataclass(frozen=True)
class Training:
    """One run of a comparison."""

    way: str
    """Name of a method, of a variant, or of an entry of ``fine_tuned`` or ``distilled``."""
    sizes: tuple[str, ...]
    """Names of sizes or budgets, smallest first."""
    steps: int
    seed: int
    is_alone: bool
    """Whether its one size is trained alone."""
    start: Training | None = None
    """The first of two stages: its network is pruned to the size and trained further, or imitated."""
    rate: float | None = None
    """The learning rate, if the study tries several."""

    @property
    def label(self) -> str:
        """The way of training, with the size if it is trained alone."""
        return f"{self.way} {self.sizes[0]}" if self.is_alone else self.way

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        before = "" if self.start is None else f"{self.start.steps}-"
        rate = "" if self.rate is None else f"-rate{self.rate:g}"
        return f"{self.label.replace(' ', '-')}-{before}{self.steps}{rate}-seed{self.seed}"

    def changes(self) -> Data:
        """The settings in which it differs from other trainings of the same way."""
        rate = {} if self.rate is None else {"lr": self.rate}
        return {
            **asked(self.sizes),
            "seed": self.seed,
            "train": {"num_steps": self.steps, **rate},
        }

    def at_rate(self, rate: float) -> Training:
        """The same training with another learning rate."""
        return replace(self, rate=rate)

    def with_seed(self, seed: int) -> Training:
        """The same training, with all of its stages, with another seed."""
        start = None if self.start is None else self.start.with_seed(seed)
        return replace(self, seed=seed, start=start)


class Lineup:
    """All contenders, and the training that each one needs for a regime, size and seed."""

    def __init__(self, definition: CompareDefinition) -> None:
        self.definition = definition
        base = definition.resolved()
        self.contenders = definition.contenders
        self.sizes = base.config.names
        self._base = base
        self._ways = {name: definition.resolved(changes) for name, changes in definition.ways.items()}
        self._first: dict[tuple[Regime, str], int] = {}
        self._costs: dict[tuple[str, int, tuple[str, ...]], float] = {}
        self._steps = {
            (regime, name): steps_of(regime, resolved, base)
            for regime in definition.regimes
            for name, resolved in self._ways.items()
        }
        for name, staged in definition.staged.items():
            first = self._ways[staged.of]
            for regime in definition.regimes:
                if name in definition.fine_tuned:
                    then = definition.resolved(staged.settings)
                    self._steps[regime, name] = steps_fine_tuned(regime, staged.share, first, then, base)
                else:
                    self._ways[name] = then = definition.resolved(staged.settings).imitating(name)
                    self._first[regime, name], self._steps[regime, name] = steps_distilled(
                        regime, staged.share, first, then, base
                    )

    def training(self, regime: Regime, contender: Contender, size: str, seed: int) -> Training:
        """The training that produces the contender's network of ``size``."""
        name, largest = contender.way, self.sizes[-1]
        steps, staged = self._steps[regime, name], self.definition.staged.get(name)
        if staged is None:
            return self._one(name, size, steps[size], seed)
        if name in self.definition.distilled:
            teacher = self._one(staged.of, largest, self._first[regime, name], seed)
            return replace(self._one(name, size, steps[size], seed), start=teacher)
        start = self._one(staged.of, largest, steps[largest], seed)  # it is the largest size
        return start if size == largest else Training(name, (size,), steps[size], seed, True, start)

    def _one(self, way: str, size: str, steps: int, seed: int) -> Training:
        """The training of one stage."""
        alone = self._ways[way].method.separate_runs
        return Training(way, (size,) if alone else self.sizes, steps, seed, alone)

    def unit_steps(self, training: Training) -> float:
        """The unit-steps to expect of a training, without those of the stage before it, in units of the
        study's own granularity.
        """
        key = training.way, training.steps, training.sizes
        if key not in self._costs:
            self._costs[key] = self._cost(training)
        return self._costs[key]

    def _cost(self, training: Training) -> float:
        if training.way in self.definition.fine_tuned:
            then = self.definition.resolved(self.definition.fine_tuned[training.way].settings)
            cost = training.steps * update_alone(then.config, first_units(then, training.sizes[0]))
            return self.in_own_units(cost, then)
        steps = {"train": {"num_steps": training.steps}}
        if training.way in self.definition.distilled:
            settings = self.definition.distilled[training.way].settings
            way = self.definition.resolved(settings, steps).imitating(training.way)
        else:
            way = self.definition.resolved(self.definition.ways[training.way], steps)
        cost = unit_steps_of(way.only(training.sizes[0]) if training.is_alone else way)
        return self.in_own_units(cost, way)

    def in_own_units(self, unit_steps: float, resolved: Resolved) -> float:
        """The unit-steps of a training in units of the study's own granularity."""
        return unit_steps / units_per_unit(resolved, self._base)

    def trainings(self) -> list[Training]:
        """All trainings without repetitions, seed by seed, so that first results are available early."""
        return list(dict.fromkeys(self._all()))

    def _all(self) -> Iterator[Training]:
        for seed in self.definition.seeds:
            for regime in self.definition.regimes:
                yield from self._needed(regime, seed)

    def _needed(self, regime: Regime, seed: int) -> Iterator[Training]:
        for contender in self.contenders:
            for size in reversed(self.sizes):
                training = self.training(regime, contender, size, seed)
                if training.start is not None:
                    yield training.start
                yield training

    def needed(self, regime: Regime) -> list[str]:
        """Names of the runs that a regime needs, without repetitions."""
        seeds = self.definition.seeds
        return list(dict.fromkeys(run.name for seed in seeds for run in self._needed(regime, seed)))


def steps_of(regime: Regime, resolved: Resolved, base: Resolved) -> dict[str, int]:
    """The number of updates by size or budget.

    Args:
        regime: ``updates``: the updates of ``base``. ``compute``: as many as fit the compute budget of the
            full network trained alone for the updates of ``base``, counted in units run forward and backward
            by a row (see ``supernet.training.compute``) times the speech in a batch; sizes trained alone
            share the budget. ``compute-each``: the same, with the whole budget for each size trained alone.
        resolved: The way of training.
        base: The training that sets the budget.
    """
    sizes, full_steps = resolved.config.names, base.config.train.num_steps
    budget = compute_budget(resolved, base)
    if regime == "updates":
        return dict.fromkeys(sizes, full_steps)
    if resolved.method.separate_runs:
        costs = {size: cost_alone(resolved, size) for size in sizes}
        together = sum(costs.values())
        return {size: round(budget / (together if regime == "compute" else costs[size])) for size in sizes}
    return dict.fromkeys(sizes, whole_hundreds(full_steps * budget / expected_unit_steps(resolved.method)))


def steps_fine_tuned(
    regime: Regime, share: float, first: Resolved, then: Resolved, base: Resolved
) -> dict[str, int]:
    """The number of updates by size of networks that are pruned and fine-tuned.

    Args:
        regime: As for ``steps_of``. The budget of ``compute`` is shared by all trainings; that of
            ``compute-each`` by the network that is pruned and each size.
        share: The share of the budget that the network that is pruned gets; the largest size.
        first: Its training.
        then: The settings of fine-tuning.
        base: The training that sets the budget.
    """
    *smaller, largest = base.config.names
    full_steps = base.config.train.num_steps
    if regime == "updates":
        before = round(share * full_steps)
        return {largest: before, **dict.fromkeys(smaller, full_steps - before)}
    alone = first.method.separate_runs
    cost = cost_alone(first, largest) if alone else expected_unit_steps(first.method) / full_steps
    budget = (1 - share) * compute_budget(then, base)
    costs = {size: update_alone(then.config, first_units(then, size)) for size in smaller}
    together = sum(costs.values())
    steps = {size: budget / (together if regime == "compute" else costs[size]) for size in smaller}
    return {largest: round(share * compute_budget(first, base) / cost)} | {
        size: round(count) for size, count in steps.items()
    }


def steps_distilled(
    regime: Regime, share: float, first: Resolved, then: Resolved, base: Resolved
) -> tuple[int, dict[str, int]]:
    """The number of updates of a teacher, which is the largest size, and by size of those that imitate it.

    Args:
        regime: As for ``steps_of``; a budget is shared by the teacher and the others.
        share: The share of the teacher.
        first: Its training.
        then: The training of those that imitate it.
        base: The training that sets the budget.
    """
    sizes, full_steps = then.config.names, base.config.train.num_steps
    if regime == "updates":
        before = round(share * full_steps)
        return before, dict.fromkeys(sizes, full_steps - before)
    each: Regime = "compute-each"  # there is only one teacher
    before = round(share * steps_of(each, first, base)[sizes[-1]])
    after = steps_of(regime, then, base)
    return before, {size: max(1, round((1 - share) * count)) for size, count in after.items()}


def unit_steps_of(resolved: Resolved) -> float:
    """The unit-steps to expect of a training, of all sizes together where each is trained alone."""
    if not resolved.method.separate_runs:
        return expected_unit_steps(resolved.method)
    return sum(unit_steps_alone(resolved.only(name).method) for name in resolved.config.names)


def compute_budget(resolved: Resolved, base: Resolved) -> float:
    """The unit-steps for which ``resolved`` costs as much as the largest size alone for the updates of
    ``base``.
    """
    largest = first_units(base, base.config.names[-1])
    full = base.config.train.num_steps * update_alone(base.config, largest) * units_per_unit(resolved, base)
    return full * seconds_a_step(base.config) / seconds_a_step(resolved.config)


def units_per_unit(resolved: Resolved, base: Resolved) -> float:
    """The number of units of ``resolved`` in one unit of ``base``, which may be larger or smaller."""
    return resolved.config.units_per_layer / base.config.units_per_layer


def first_units(resolved: Resolved, size: str) -> Kept:
    """The first units that fit a size or budget."""
    (budget,) = (budget for budget in resolved.method.budgets if budget.name == size)
    return budget.fill(range(budget.num_units))


def asked(sizes: Sequence[str]) -> Data:
    """The setting that asks for sizes or budgets with these names."""
    if all(size.isdecimal() for size in sizes):
        return {"sizes": [int(size) for size in sizes]}
    return {"budgets": list(sizes)}


def cost_alone(resolved: Resolved, size: str) -> float:
    """The unit-steps of an update, on average, where ``size`` is trained alone."""
    one = resolved.only(size)
    return unit_steps_alone(one.method) / one.config.train.num_steps


def seconds_a_step(config: Config) -> float:
    """Seconds of speech per update; 1 for tasks that do not count it."""
    return float(config.task.options.get("batch_seconds", 1.0)) * config.train.accumulate


def whole_hundreds(steps: float) -> int:
    """``steps`` rounded down to a multiple of 100, for readable tables; below 100, to an integer."""
    return int(steps // 100 * 100) or int(steps)
