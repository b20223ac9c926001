"""The outcome of a comparison: error rates over seeds, differences with intervals, hypervolumes, costs.

Shapes: R seeds, N test utterances.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from selection.study.compare_runner import TRAINING
from selection.study.contenders import Lineup
from selection.study.definition import Contender, Regime
from selection.study.simultaneous import half_widths
from selection.study.trial_runner import given
from supernet.errors import ConfigError
from supernet.scoring.error_rates import Measure
from supernet.scoring.statistics import Ints

COST_MARGIN = 1.1
"""MACs at the reference point of hypervolumes, as a multiple of those of the full network."""


@dataclass(frozen=True)
class SizeResult:
    """The networks of one contender and size, one per seed."""

    rates: tuple[float, ...]
    errors_RN: Ints
    words_N: Ints
    macs: float

    @property
    def mean(self) -> float:
        return statistics.mean(self.rates)


@dataclass(frozen=True)
class Gap:
    """The difference between a contender and the yardstick."""

    points: float
    """Difference of the mean error rates, as a fraction; negative where the contender is better."""
    interval: tuple[float, float]
    """Simultaneous 95 % confidence interval over seeds and utterances, for all contenders of the size
    together; see ``simultaneous``.
    """

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.interval[0] > 0 or self.interval[1] < 0


@dataclass(frozen=True)
class Cost:
    """The cost of obtaining all sizes, as a mean over the seeds."""

    runs: int
    updates: float
    unit_steps: float
    training_macs: float
    training_seconds: float
    evaluations: float
    selection_seconds: float


class RegimeOutcome:
    """The outcome of one regime of a comparison whose runs are complete."""

    def __init__(self, lineup: Lineup, regime: Regime, trials: Mapping[str, Mapping[str, Any]]) -> None:
        """``trials``: the notes of each run, by its name."""
        self.lineup, self.regime, self.trials = lineup, regime, trials
        self.seeds, self.sizes = lineup.definition.seeds, lineup.sizes
        self.against = lineup.definition.against

    @cached_property
    def results(self) -> dict[Contender, dict[str, SizeResult]]:
        """Results by contender and size, the largest size first; ``ConfigError`` if test texts differ."""
        return {c: {s: self._result(c, s) for s in reversed(self.sizes)} for c in self.lineup.contenders}

    def found(
        self, contender: Contender, size: str, seed: int
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The notes of the contender's run, and among them those of its network of ``size``."""
        notes = self.trials[self.lineup.training(self.regime, contender, size, seed).name]
        return notes, _row(notes, contender, size)

    def _result(self, contender: Contender, size: str) -> SizeResult:
        found = [self.found(contender, size, seed) for seed in self.seeds]
        rows = [row for _, row in found]
        return SizeResult(
            rates=tuple(row.get("rate", row["wer"]) for row in rows),
            errors_RN=np.array([row["errors"] for row in rows], np.int64),
            words_N=self._words,
            macs=statistics.mean(row["macs"] for row in rows),
        )

    @property
    def measure(self) -> Measure:
        """Whether error rates are of words or of characters."""
        measure: Measure = next(iter(self.trials.values())).get("measure", "wer")
        return measure

    @cached_property
    def _words(self) -> Ints:
        """Words (or characters) of each test utterance, which must be the same for all runs."""
        first, *others = self.lineup.needed(self.regime)
        words = self.trials[first]["words"]
        for name in others:
            if self.trials[name]["words"] != words:
                raise ConfigError([f"`{name}` must be tested on the words of `{first}`, but is not."])
        return np.array(words, np.int64)

    def best(self, size: str) -> Contender:
        """The contender with the lowest mean error rate."""
        return min(self.results, key=lambda contender: self.results[contender][size].mean)

    def yardstick(self, size: str) -> Contender:
        """The contender to compare with: the one that the study names, or the best."""
        named = [contender for contender in self.results if contender.name == self.against]
        return named[0] if named else self.best(size)

    @cached_property
    def gaps(self) -> dict[str, dict[Contender, Gap]]:
        """The gap between every other contender and the yardstick, by size."""
        return {size: self._gaps(size) for size in reversed(self.sizes)}

    def _gaps(self, size: str) -> dict[Contender, Gap]:
        results = {contender: mine[size] for contender, mine in self.results.items()}
        return gaps(results, self.yardstick(size), is_named=bool(self.against))

    def hypervolumes(self, contender: Contender) -> list[float]:
        """For each seed, the hypervolume that the sizes dominate in the plane of MACs and error rates, as a
        share of the rectangle up to the reference point.
        """
        results = self.results[contender].values()
        full = max(result.macs for mine in self.results.values() for result in mine.values())
        corner = COST_MARGIN, self.lineup.definition.reference_wer
        return [
            hypervolume([(result.macs / full, result.rates[i]) for result in results], corner)
            / (corner[0] * corner[1])
            for i in range(len(self.seeds))
        ]

    def learning_rates(self, contender: Contender) -> list[float]:
        """The learning rates of the contender's trainings, without repetitions, the largest size first."""
        found = [self.found(contender, size, self.seeds[0])[0].get("lr") for size in reversed(self.sizes)]
        return [rate for rate in dict.fromkeys(found) if rate is not None]

    def cost(self, contender: Contender) -> Cost:
        """The cost of all sizes, including the strategy's search."""
        by_seed = [self._cost(contender, seed) for seed in self.seeds]
        means = np.mean(by_seed, axis=0)
        return Cost(round(means[0]), *(float(mean) for mean in means[1:]))

    def _cost(self, contender: Contender, seed: int) -> list[float]:
        trainings = [self.lineup.training(self.regime, contender, size, seed) for size in self.sizes]
        starts = [training.start for training in trainings if training.start is not None]
        names = {training.name for training in (*trainings, *starts)}
        notes = [self.trials[name] for name in names]
        rows = [row for n in notes for row in n["rows"] if row["strategy"] == contender.strategy]
        keys = ("updates", "unit_steps", "training_macs", "training_seconds")
        trained = [sum(n[key] for n in notes) for key in keys]
        return [len(names), *trained, *(sum(row[key] for row in rows) for key in ("evaluations", "seconds"))]


def gaps(
    results: Mapping[Contender, SizeResult], yardstick: Contender, *, is_named: bool
) -> dict[Contender, Gap]:
    """The gap between each other contender and the ``yardstick``, with simultaneous confidence intervals.

    A yardstick that was not named beforehand (``is_named``) is the best on the very utterances on which it is
    compared, so that any pair might have been the one compared: the intervals hold for all pairs then.
    """
    # Contenders with equal errors are the same networks: one represents them all, the yardstick its own.
    examples = {result.errors_RN.tobytes(): contender for contender, result in results.items()}
    examples[results[yardstick].errors_RN.tobytes()] = yardstick
    distinct = list(examples.values())
    best = distinct.index(yardstick)
    pairs = [(i, best) for i in range(len(distinct)) if i != best]
    if not is_named:
        pairs += [pair for pair in combinations(range(len(distinct)), 2) if best not in pair]
    widths: dict[Contender, float] = {yardstick: 0.0}
    if pairs:
        errors = [results[contender].errors_RN for contender in distinct]
        found = half_widths(errors, results[yardstick].words_N, pairs)
        widths |= {distinct[i]: float(width) for (i, j), width in zip(pairs, found, strict=True) if j == best}
    return {
        contender: _gap(result, results[yardstick], widths[examples[result.errors_RN.tobytes()]])
        for contender, result in results.items()
        if contender != yardstick
    }


def _gap(result: SizeResult, yardstick: SizeResult, half_width: float) -> Gap:
    change_RN = result.errors_RN - yardstick.errors_RN
    points = float(change_RN.sum() / (len(change_RN) * yardstick.words_N.sum()))
    return Gap(points, (points - half_width, points + half_width))


def hypervolume(points: Iterable[tuple[float, float]], corner: tuple[float, float]) -> float:
    """The area of the plane between any of ``points`` and ``corner``; lower is better in both coordinates."""
    area, ceiling = 0.0, corner[1]
    for x, y in sorted(points):
        if x < corner[0] and y < ceiling:
            area += (corner[0] - x) * (ceiling - y)
            ceiling = y
    return area


def missing(lineup: Lineup, regime: Regime, trials: Mapping[str, Any]) -> list[str]:
    """The runs of a regime that have not finished."""
    return [name for name in lineup.needed(regime) if name not in trials]


def notes_of(trials: Sequence[Any]) -> dict[str, Mapping[str, Any]]:
    """The notes of completed trials, by the names of their runs."""
    return {given(trial)[TRAINING]: trial.user_attrs for trial in trials if "rows" in trial.user_attrs}


def _row(notes: Mapping[str, Any], contender: Contender, size: str) -> Mapping[str, Any]:
    rows: list[Mapping[str, Any]] = [row for row in notes["rows"] if str(row["size"]) == size]
    own = [row for row in rows if row["strategy"] == contender.strategy]
    return own[0] if own else rows[0]
