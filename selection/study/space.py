"""The search space of a study: one dimension for each setting that is tuned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial
from pydantic import model_validator

from supernet.config import Section
from supernet.settings.presets import Data, merge

Scalar = str | int | float | bool | None


class Dimension(Section):
    """The values of one setting: a range from ``low`` to ``high``, or ``choices``. A range holds integers if
    its bounds and ``step`` are integers.
    """

    low: int | float | None = None
    """Lower bound of the range, included."""
    high: int | float | None = None
    """Upper bound of the range, included."""
    log: bool = False
    """Whether values are drawn from a logarithmic scale."""
    step: int | float | None = None
    """Step between neighboring values. None: 1 for integers, otherwise continuous."""
    choices: tuple[Any, ...] | None = None
    """The values, if they are not a range."""

    @model_validator(mode="after")
    def _check(self) -> Dimension:
        is_range = self.low is not None and self.high is not None
        if is_range == bool(self.choices) or (self.choices and (self.low, self.high) != (None, None)):
            raise ValueError("a dimension of `space` must have either `low` and `high`, or `choices`")
        return self

    def problems(self, key: str) -> list[str]:
        """Reasons for which Optuna rejects the dimension."""
        try:
            self.distribution()
        except ValueError as e:
            return [f"`space.{key}` must be a range that can be drawn from, but is not: {e}"]
        return []

    def distribution(self) -> BaseDistribution:
        """The dimension as Optuna's distribution. Raises ``ValueError`` if it is empty."""
        if self.choices is not None:
            return CategoricalDistribution([written(choice) for choice in self.choices])
        assert self.low is not None
        assert self.high is not None
        if self._is_whole:
            return IntDistribution(int(self.low), int(self.high), self.log, int(self.step or 1))
        return FloatDistribution(self.low, self.high, self.log, self.step)

    @property
    def _is_whole(self) -> bool:
        return all(isinstance(x, int) for x in (self.low, self.high, self.step) if x is not None)

    def extremes(self) -> list[Any]:
        """Values to validate: if a setting accepts these, it accepts the whole dimension."""
        return [self.low, self.high] if self.choices is None else list(self.choices)

    def holds(self, value: Any) -> bool:
        """Whether ``value`` can be drawn."""
        if self.choices is not None:
            return value in self.choices
        assert self.low is not None
        assert self.high is not None
        try:
            number = float(value)
        except (TypeError, ValueError):
            return False
        step = self.step or (1 if self._is_whole else None)
        steps = 0.0 if step is None else (number - self.low) / step
        return self.low <= number <= self.high and abs(steps - round(steps)) < 1e-8

    def suggest(self, trial: Trial, key: str) -> Any:
        """The trial's value."""
        found = self.distribution()
        if isinstance(found, CategoricalDistribution):
            return read(trial.suggest_categorical(key, found.choices))
        if isinstance(found, IntDistribution):
            return trial.suggest_int(key, found.low, found.high, step=found.step, log=found.log)
        assert isinstance(found, FloatDistribution)
        return trial.suggest_float(key, found.low, found.high, step=found.step, log=found.log)


def written(value: Any) -> Scalar:
    """A choice in a form that storages accept: lists and mappings as JSON."""
    return value if isinstance(value, str | int | float | bool | None) else json.dumps(value)


def read(value: Scalar) -> Any:
    """The inverse of ``written``: a string that begins like a JSON list or mapping is one."""
    return json.loads(value) if isinstance(value, str) and value[:1] in ("[", "{") else value


def setting_text(value: Any) -> str:
    """The value of a setting as text."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def nested(values: Mapping[str, Any]) -> Data:
    """Nested mappings from dotted keys."""
    data: Data = {}
    for key, value in values.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        data = merge(data, value)
    return data
