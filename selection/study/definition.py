"""What a study is, as its YAML file says it; checked whole before anything is trained."""

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
"""What trainings are given equally much of; see ``steps_of``."""

METHODS: Mapping[str, tuple[str, ...]] = {
    "simple-top-k": (),
    "iterative-zero-out": (),
    "on-demand": ("tail", "greedy", "every-other", "similarity"),
    "individual": (),
}

ERRORS = ("errors", "wer", "cer")
"""Objectives that are error rates; the first is of what the texts are judged by."""

THE_SAME_FOR_ALL = ("sizes", "seed", "train.num_steps")
"""What no variant may set, lest trainings not be compared at equal cost."""


class Definition(Section):
    """What all studies have in common."""

    settings: Data = Field(default_factory=dict)
    """Settings of every training, as in a run's configuration: task, sizes, preset and so on."""

    def problems(self) -> list[str]:
        """What is wrong with this study, in words for the user."""
        return _problems(self.settings, [{}])

    def resolved(self, *changes: Mapping[str, Any]) -> Resolved:
        return resolve([self.settings, *changes])


D = TypeVar("D", bound=Definition)


@dataclass(frozen=True)
class Contender:
    """A way of training, and the strategy that chooses from what it has trained. None: the subnets it was
    trained with.
    """

    way: str
    strategy: str | None

    @property
    def name(self) -> str:
        return self.way if self.strategy is None else f"{self.way}, {self.strategy}"


class CompareDefinition(Definition):
    """Methods against each other, and against each size trained alone."""

    methods: dict[str, tuple[str, ...]] = Field(default_factory=lambda: dict(METHODS), min_length=1)
    """Methods of training, and the strategies that choose from what each of them has trained. None: the
    subnets it was trained with.
    """
    variants: dict[str, Data] = Field(default_factory=dict)
    """Other settings of a training, by a name of their own: what differs from ``settings``. Each is judged by
    the subnets it was trained with.
    """
    against: str | None = None
    """The contender that all others are compared with, by its name in the tables. None: the best of each
    size.
    """
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of every training."""
    regimes: tuple[Regime, ...] = ("updates", "compute")
    """What trainings are given equally much of: updates, compute, or compute-each."""
    reference_wer: Annotated[float, Field(gt=0)] = 0.2
    """Hypervolumes are measured from this word error rate and 1.1 times the MACs of the full net."""

    @field_validator("methods", "variants", mode="before")
    @classmethod
    def _without_null(cls, data: Any) -> Any:
        """``--set variants.NAME=null`` leaves out what a file names."""
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
        """All ways of training, methods and variants, and how their settings differ from ``settings``."""
        return {**{name: {"method": name} for name in self.methods}, **self.variants}

    @property
    def contenders(self) -> list[Contender]:
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
        """What is wrong with this variant beyond what is ``known`` to be wrong without it."""
        where, settings = f"`variants.{name}`", self.variants[name]
        found = [f"{where}: {line}" for line in _problems(self.settings, [settings]) if line not in known]
        try:
            safe_name(name, "variants")  # it becomes part of a folder's name
        except UserError as e:
            found.append(str(e))
        if name in self.methods:
            found.append(f"{where} must have a name of its own, but is called like a method.")
        fixed = [key for key in THE_SAME_FOR_ALL if _sets(settings, key)]
        if not found and not known and self._corpus(settings) != self._corpus():
            fixed.append("task")
        return found + [f"{where} must leave `{key}` to the comparison, but sets it." for key in fixed]

    def _corpus(self, *changes: Data) -> tuple[str, object]:
        """What decides the test words of a training, also where a preset brings it."""
        task = self.resolved(*changes).config.task
        return task.name, task.options.get("path")


class TuneDefinition(Definition):
    """A search for the best settings of a training."""

    space: Annotated[dict[str, Dimension], Field(min_length=1)]
    """What is searched, by the dotted key of the setting."""
    trials: tuple[dict[str, Any], ...] = ()
    """Values of the first trials; what one does not name is sampled."""
    objectives: tuple[str, ...] = ("errors",)
    """``errors``: the error rate that the texts are judged by, the mean over the sizes; ``errors/6``: of one
    size; ``wer``, ``cer``: of words, of characters, likewise; ``compute``: units x updates of the training.
    With several, the outcome is a Pareto front, and no trial is pruned.
    """
    reference: dict[int, Annotated[float, Field(gt=0)]] | None = None
    """Error rates by size that those of a trial are divided by before their mean is taken. None: 1."""
    sampler: Named = Named(name="TPESampler")
    """One of ``optuna.samplers``, and its options."""
    pruner: Named = Named(name="MedianPruner")
    """One of ``optuna.pruners``, and its options."""

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, data: Any) -> Any:
        """A sampler or pruner may be given by its name alone."""
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
        """Each dimension at each of its ends or choices."""
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
        """The pruner; it waits for a third of the steps unless its options say else: until then a CTC net
        may write nothing, whatever its settings.
        """
        kls = getattr(optuna.pruners, self.pruner.name)
        waits = "n_warmup_steps" in inspect.signature(kls).parameters
        patience = {"n_warmup_steps": self.resolved().config.train.num_steps // 3} if waits else {}
        made: BasePruner = kls(**{**patience, **self.pruner.options})
        return made


def checked(kls: type[D], data: Mapping[str, Any]) -> D:
    """``data`` as a study. Raises ``ConfigError`` with everything that is wrong."""
    problems: list[str] = []
    definition = validated(kls, data, "", problems, partial(_names, data))
    if definition is not None:
        problems += definition.problems()
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return definition  # type: ignore[no-any-return]


def _names(data: Mapping[str, Any]) -> list[str]:
    """The settings of trainings, as a study's file has them."""
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
    """What is wrong with the settings under any of these changes, each line once."""
    found: dict[str, None] = {}
    for change in changes:
        try:
            resolve([settings, change])
        except ConfigError as e:
            found |= dict.fromkeys(e.problems)
    return list(found)
