"""The definition of learning curves: each size alone, trained for several numbers of updates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field, model_validator

from selection.study.definition import Definition, problems_of, repeated
from selection.study.preferred_rate import LearningRates
from supernet.settings.presets import Data

Length = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class CurvePoint:
    """One training of one size."""

    size: int
    steps: int
    seed: int
    rate: float | None = None
    """The learning rate, if the study tries several."""

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        rate = "" if self.rate is None else f"-rate{self.rate:g}"
        return f"{self.size}-{self.steps}{rate}-seed{self.seed}"

    def at_rate(self, rate: float) -> CurvePoint:
        """The same training with another learning rate."""
        return replace(self, rate=rate)

    def changes(self) -> Data:
        rate = {} if self.rate is None else {"lr": self.rate}
        return {"sizes": [self.size], "seed": self.seed, "train": {"num_steps": self.steps, **rate}}


class CurvesDefinition(Definition):
    """Learning curves of sizes that are trained alone: are larger sizes better, and are they converged?"""

    lengths: tuple[Length, ...] = (1.0, 2.0, 4.0, 8.0)
    """Numbers of updates, as multiples of ``settings.train.num_steps``."""
    rates: LearningRates = ()
    """Learning rates to try for each size: the one with the lowest error rate on the validation split, with
    the first of ``seeds``, is taken. None: that of ``settings``.
    """
    rates_at: Length | None = None
    """The length with which learning rates are tried, for all lengths. None: each length tries its own."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of every training."""

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, data: Any) -> Any:
        """Train each size alone unless a method is named."""
        if not isinstance(data, Mapping) or not isinstance(data.get("settings", {}), Mapping):
            return data
        return {**data, "settings": {"method": "individual", **data.get("settings", {})}}

    def problems(self) -> list[str]:
        found = problems_of(self.settings, [{}])
        some = (("lengths", self.lengths), ("seeds", self.seeds), ("rates", self.rates or (1.0,)))
        found += [line for name, values in some for line in repeated(name, values)]
        if found:
            return found
        resolved = self.resolved()
        if not resolved.method.separate_runs:
            name = resolved.config.method.name
            found.append(f"`settings.method` must train each size alone, but '{name}' trains them together.")
        if min(self.steps(length) for length in (*self.lengths, self.rates_at or 1.0)) < 1:
            found.append("`lengths` must be at least one update each, but the shortest is none.")
        return found

    def steps(self, length: float) -> int:
        """The number of updates of a length."""
        return round(length * self.resolved().config.train.num_steps)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(sorted(self.resolved().config.sizes))

    def points(self) -> list[CurvePoint]:
        """All trainings, seed by seed, the shortest first."""
        counts = {length: self.steps(length) for length in sorted(self.lengths)}
        sizes = self.sizes
        return [
            CurvePoint(size, steps, seed)
            for seed in self.seeds
            for steps in counts.values()
            for size in reversed(sizes)
        ]

    def trial_of_rates(self, point: CurvePoint) -> CurvePoint:
        """The training with which the learning rate of ``point`` is chosen."""
        steps = point.steps if self.rates_at is None else self.steps(self.rates_at)
        return replace(point, steps=steps, seed=self.seeds[0])
