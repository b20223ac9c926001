"""The definition of a search for the best settings of a training."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import optuna
from optuna.pruners import BasePruner
from pydantic import Field, model_validator

from selection.strategies import samplers
from selection.study.definition import Definition, problems_of
from selection.study.space import Dimension, nested
from selection.study.trial_runner import ERRORS
from supernet.config import Named
from supernet.settings.names import nearest
from supernet.settings.presets import Data


class TuneDefinition(Definition):
    """A search for the best settings of a training."""

    space: Annotated[dict[str, Dimension], Field(min_length=1)]
    """The search space: a dimension for each dotted key of a setting."""
    trials: tuple[dict[str, Any], ...] = ()
    """Parameters of the first trials; keys that a trial does not name are sampled."""
    objectives: tuple[str, ...] = ("errors",)
    """Values to minimize. ``errors``: mean over the sizes of the error rate by which the texts are judged;
    ``errors/6``: that of size 6; likewise ``wer`` and ``cer`` for words and characters; ``compute``: unit-
    steps of the training. Several objectives result in a Pareto front, and no trial is pruned.
    """
    reference: dict[int, Annotated[float, Field(gt=0)]] | None = None
    """Reference error rates by size, by which those of a trial are divided before averaging. None: 1."""
    sampler: Named = Named(name="TPESampler")
    """One of ``optuna.samplers``, and its options."""
    pruner: Named = Named(name="MedianPruner")
    """One of ``optuna.pruners``, and its options."""

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, data: Any) -> Any:
        """Accept a sampler or pruner given only by its name."""
        if not isinstance(data, Mapping):
            return data
        return {
            key: {"name": value} if key in ("sampler", "pruner") and isinstance(value, str) else value
            for key, value in data.items()
        }

    def problems(self) -> list[str]:
        found = problems_of(self.settings, [{}]) or problems_of(self.settings, self._changes())
        found += [problem for key, dimension in self.space.items() for problem in dimension.problems(key)]
        found += [problem for i, values in enumerate(self.trials) for problem in self._wrong(i, values)]
        if not found:
            found = self._about_sizes(self.resolved().config.sizes)
        found += samplers.problems("sampler", self.sampler.name, self.sampler.options)
        return found + samplers.problems("pruner", self.pruner.name, self.pruner.options)

    def _changes(self) -> list[Data]:
        """Settings with each dimension at each of its bounds or choices."""
        return [
            nested({key: value}) for key, dimension in self.space.items() for value in dimension.extremes()
        ]

    def _wrong(self, i: int, values: Mapping[str, Any]) -> list[str]:
        where = f"`trials.{i}`"
        unknown = [key for key in values if key not in self.space]
        found = [f"{where} must set keys of `space`, but sets '{key}'." for key in unknown]
        for key in set(values) - set(unknown):
            if not self.space[key].holds(values[key]):
                found.append(f"{where} must lie within `space`, but sets '{key}' to {values[key]!r}.")
        return found

    def _about_sizes(self, sizes: Sequence[int]) -> list[str]:
        by_size = (f"{what}/{size}" for what in ERRORS for size in sorted(sizes))
        known = [*ERRORS, "compute", *by_size]
        found = [
            f"`objectives` must be among {', '.join(known)}, but one is '{name}' instead."
            + nearest(name, known)
            for name in self.objectives or ("",)
            if name not in known
        ]
        if self.reference is not None and set(self.reference) != set(sizes):
            found.append(
                f"`reference` must name the sizes {sorted(sizes)}, "
                f"but names {sorted(self.reference)} instead."
            )
        return found

    def new_pruner(self) -> BasePruner:
        """Create the pruner. By default it starts after a third of the updates: until then a CTC model may be
        in the blank plateau, whatever its settings.
        """
        kls = getattr(optuna.pruners, self.pruner.name)
        waits = "n_warmup_steps" in inspect.signature(kls).parameters
        patience = {"n_warmup_steps": self.resolved().config.train.num_steps // 3} if waits else {}
        made: BasePruner = kls(**{**patience, **self.pruner.options})
        return made
