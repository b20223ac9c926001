"""Definitions of studies, as in their YAML files; validated as a whole before anything is trained."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

import optuna
from optuna.pruners import BasePruner
from pydantic import Field, field_validator, model_validator

from selection.strategies import samplers
from selection.study.space import Dimension, nested
from supernet.config import Named, Section
from supernet.errors import ConfigError, UserError
from supernet.runs.resolve import Resolved, resolve, setting_names
from supernet.settings.names import nearest
from supernet.settings.plugins import load_plugin, validated
from supernet.settings.presets import Data
from supernet.system.files import safe_name

Regime = Literal["updates", "compute", "compute-each"]
"""The quantity that is equal for all trainings; see ``steps_of``."""

METHODS: Mapping[str, tuple[str, ...]] = {
    "simple-top-k": (),
    "iterative-zero-out": (),
    "on-demand": ("tail", "greedy", "every-other", "similarity"),
    "individual": (),
}
"""The default comparison: methods, and strategies for each."""

ERRORS = ("errors", "wer", "cer")
"""Objectives that are error rates; the first is that by which the texts are judged."""

THE_SAME_FOR_ALL = ("sizes", "seed", "train.num_steps")
"""Settings that no variant may change, so that trainings are compared at equal cost."""


class Definition(Section):
    """Settings that all studies have in common."""

    settings: Data = Field(default_factory=dict)
    """Settings of every training, as in a run's configuration: task, sizes, preset etc."""

    def problems(self) -> list[str]:
        """Problems with this study, as messages for the user."""
        return _problems(self.settings, [{}])

    def resolved(self, *changes: Mapping[str, Any]) -> Resolved:
        return resolve([self.settings, *changes])


D = TypeVar("D", bound=Definition)


@dataclass(frozen=True)
class Contender:
    """A way of training, and the strategy that chooses units of the trained network. None: the subnets with
    which it was trained.
    """

    way: str
    strategy: str | None

    @property
    def name(self) -> str:
        return self.way if self.strategy is None else f"{self.way}, {self.strategy}"


class CompareDefinition(Definition):
    """A comparison of methods with each other, and with each size trained alone."""

    methods: dict[str, tuple[str, ...]] = Field(default_factory=lambda: dict(METHODS), min_length=1)
    """Training methods, and for each the strategies that choose units of the trained network. None: the
    subnets with which it was trained.
    """
    variants: dict[str, Data] = Field(default_factory=dict)
    """Named differences from ``settings``, each of them a contender, judged by the subnets with which it was
    trained.
    """
    against: str | None = None
    """Name, as in the tables, of the contender with which all others are compared. None: the best for each
    size.
    """
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of every training."""
    regimes: tuple[Regime, ...] = ("updates", "compute")
    """Quantities to hold equal, each in a comparison of its own: updates, compute, compute-each."""
    reference_wer: Annotated[float, Field(gt=0)] = 0.2
    """Error rate at the reference point of hypervolumes; its MACs are 1.1 times those of the full network."""

    @field_validator("methods", "variants", mode="before")
    @classmethod
    def _without_null(cls, data: Any) -> Any:
        """Let ``variants.NAME=null`` remove an entry of a file."""
        if not isinstance(data, Mapping):
            return data
        return {name: value for name, value in data.items() if value is not None}

    def problems(self) -> list[str]:
        found = _problems(self.settings, [{"method": name} for name in self.methods])
        found += [problem for name in self.variants for problem in self._about_variant(name, found)]
        for name in sorted({strategy for chosen in self.methods.values() for strategy in chosen}):
            load_plugin("strategy", name, found)
        for name, values in (("seeds", self.seeds), ("regimes", self.regimes)):
            if not values or len(set(values)) < len(values):
                found.append(f"`{name}` must be some that differ, but are {list(values)} instead.")
        return found + self._about_yardstick([contender.name for contender in self.contenders])

    @property
    def ways(self) -> dict[str, Data]:
        """All ways of training (methods and variants), with their differences from ``settings``."""
        return {**{name: {"method": name} for name in self.methods}, **self.variants}

    @property
    def contenders(self) -> list[Contender]:
        """All ways of training, each with each of its strategies."""
        return [
            Contender(way, strategy) for way in self.ways for strategy in self.methods.get(way) or (None,)
        ]

    def _about_yardstick(self, known: Sequence[str]) -> list[str]:
        if self.against is None or self.against in known:
            return []
        return [
            f"`against` must name a contender, but is '{self.against}' instead."
            + nearest(self.against, known)
        ]

    def _about_variant(self, name: str, known: Sequence[str]) -> list[str]:
        """Problems with this variant, except those ``known`` without it."""
        where, settings = f"`variants.{name}`", self.variants[name]
        found = [f"{where}: {line}" for line in _problems(self.settings, [settings]) if line not in known]
        try:
            safe_name(name, "variants")  # it becomes part of a folder's name
        except UserError as e:
            found.append(str(e))
        if name in self.methods:
            found.append(f"{where} must have a name of its own, but has that of a method.")
        fixed = [key for key in THE_SAME_FOR_ALL if _sets(settings, key)]
        if not found and not known and self._corpus(settings) != self._corpus():
            fixed.append("task")
        return found + [f"{where} must leave `{key}` to the comparison, but sets it." for key in fixed]

    def _corpus(self, *changes: Data) -> tuple[str, object]:
        """The part of the task that determines the test utterances, whether set or taken from a preset."""
        task = self.resolved(*changes).config.task
        return task.name, task.options.get("path")


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
        found = _problems(self.settings, [{}]) or _problems(self.settings, self._changes())
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


def checked(kls: type[D], data: Mapping[str, Any]) -> D:
    """Validate ``data`` as a study. Raises ``ConfigError`` with all problems."""
    problems: list[str] = []
    definition = validated(kls, data, "", problems, partial(_names, data))
    if definition is not None:
        problems += definition.problems()
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return definition  # type: ignore[no-any-return]


def _names(data: Mapping[str, Any]) -> list[str]:
    """Names of the settings of trainings as they appear in a study's file."""
    settings = data.get("settings")
    return [f"settings.{name}" for name in setting_names(settings if isinstance(settings, Mapping) else {})]


def _sets(settings: Data, key: str) -> bool:
    """Whether the settings have the dotted key."""
    value: Any = settings
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True


def _problems(settings: Data, changes: Sequence[Data]) -> list[str]:
    """Problems with the settings under any of these changes, without repetitions."""
    found: dict[str, None] = {}
    for change in changes:
        try:
            resolved = resolve([settings, change])
            if resolved.config.budgets is not None:
                found[
                    "`budgets` must be left out of a study, which compares sizes: give `sizes` instead."
                ] = None
        except ConfigError as e:
            found |= dict.fromkeys(e.problems)
    return list(found)
