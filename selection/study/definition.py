"""Definitions of studies, as in their YAML files; validated as a whole before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, field_validator

from selection.study.preferred_rate import LearningRates
from supernet.config import Config, Section
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

THE_SAME_FOR_ALL = ("sizes", "budgets", "seed", "train.num_steps")
"""Settings that no variant may change, so that trainings are compared at equal cost."""


class Definition(Section):
    """Settings that all studies have in common."""

    settings: Data = Field(default_factory=dict)
    """Settings of every training, as in a run's configuration: task, sizes, preset etc."""

    def problems(self) -> list[str]:
        """Problems with this study, as messages for the user."""
        return problems_of(self.settings, [{}])

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


class Staged(Section):
    """Training in two stages, of which the first produces a network for the second."""

    of: str
    """The way of training, a method or a variant, of the network of the first stage."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """The share of the updates or of the compute that the first stage gets."""
    settings: Data = Field(default_factory=dict)
    """Differences from the study's settings in the second stage, such as a lower learning rate."""


class FineTuning(Staged):
    """Prune and fine-tune: a network is trained, and each smaller size is cut from it and trained further.
    The largest size is the network that is pruned.
    """

    strategy: str
    """The strategy that chooses the units of each smaller size."""


class Distillation(Staged):
    """Train a network, the teacher, then imitate its largest size: see ``passes.teacher``. ``settings`` may
    name the method of the second stage.
    """


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
    strategies: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """For variants, the strategies that choose units of the trained network. None: as for methods."""
    fine_tuned: dict[str, FineTuning] = Field(default_factory=dict)
    """Named contenders whose smaller sizes are pruned from a trained network and fine-tuned."""
    distilled: dict[str, Distillation] = Field(default_factory=dict)
    """Named contenders that imitate a trained network."""
    rates: LearningRates = ()
    """Learning rates to try. Each way of training, each size trained alone, and each number of updates has
    the one with the lowest error rate on the validation split, with the first of ``seeds``. These trials are
    not counted in the compute. None: that of ``settings``, or of the variant.
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

    @field_validator("methods", "variants", "strategies", "fine_tuned", "distilled", mode="before")
    @classmethod
    def _without_null(cls, data: Any) -> Any:
        """Let ``variants.NAME=null`` remove an entry of a file."""
        if not isinstance(data, Mapping):
            return data
        return {name: value for name, value in data.items() if value is not None}

    def problems(self) -> list[str]:
        found = self._about_settings(*({"method": name} for name in self.methods))
        found += [problem for name in self.variants for problem in self._about_variant(name, found)]
        found += [problem for name in self.staged for problem in self._about_stages(name, found)]
        found += [
            f"`strategies.{name}` must be of a variant, but is not.{nearest(name, list(self.variants))}"
            for name in self.strategies
            if name not in self.variants
        ]
        chosen = {name for names in (*self.methods.values(), *self.strategies.values()) for name in names}
        for name in sorted(chosen | {tuned.strategy for tuned in self.fine_tuned.values()}):
            load_plugin("strategy", name, found)
        some = (("seeds", self.seeds), ("regimes", self.regimes), ("rates", self.rates or (1.0,)))
        found += [line for name, values in some for line in repeated(name, values)]
        return found + self._about_yardstick([contender.name for contender in self.contenders])

    def _about_settings(self, *changes: Data) -> list[str]:
        return problems_of(self.settings, changes, takes_budgets=True)

    @property
    def ways(self) -> dict[str, Data]:
        """All ways of training (methods and variants), with their differences from ``settings``."""
        return {**{name: {"method": name} for name in self.methods}, **self.variants}

    @property
    def staged(self) -> dict[str, Staged]:
        """Contenders that are trained in two stages, by name."""
        return {**self.fine_tuned, **self.distilled}

    @property
    def contenders(self) -> list[Contender]:
        """All ways of training, each with each of its strategies, and those with two stages."""
        found = [
            Contender(way, strategy) for way in self.ways for strategy in self.strategies_of(way) or (None,)
        ]
        return [*found, *(Contender(name, None) for name in self.staged)]

    def strategies_of(self, way: str) -> tuple[str, ...]:
        """The strategies that choose units of networks trained in this way."""
        return self.methods.get(way) or self.strategies.get(way) or ()

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
        found = [f"{where}: {line}" for line in self._about_settings(settings) if line not in known]
        try:
            safe_name(name, "variants")  # it becomes part of a folder's name
        except UserError as e:
            found.append(str(e))
        if name in self.methods:
            found.append(f"{where} must have a name of its own, but has that of a method.")
        fixed = [key for key in self._the_same_for_all if _sets(settings, key)]
        if not found and not known:
            mine, base = self.resolved(settings).config, self.resolved().config
            if _corpus(mine) != _corpus(base):
                fixed.append("task")
            if base.budgets is None and mine.granularity != base.granularity:
                found.append(
                    f"{where} must leave `granularity` to the comparison, whose sizes count units, but sets "
                    "it. With `settings.budgets` in place of sizes, such as macs=50%, it may."
                )
        return found + [f"{where} must leave `{key}` to the comparison, but sets it." for key in fixed]

    @property
    def _the_same_for_all(self) -> tuple[str, ...]:
        return (*THE_SAME_FOR_ALL, "train.lr") if self.rates else THE_SAME_FOR_ALL

    def _about_stages(self, name: str, known: Sequence[str]) -> list[str]:
        """Problems with this entry of ``fine_tuned`` or ``distilled``."""
        prunes, staged = name in self.fine_tuned, self.staged[name]
        entry = "fine_tuned" if prunes else "distilled"
        where = f"`{entry}.{name}`"
        found = [f"{where}: {line}" for line in self._about_settings(staged.settings) if line not in known]
        try:
            safe_name(name, entry)
        except UserError as e:
            found.append(str(e))
        if name in self.ways or (prunes and name in self.distilled):
            found.append(f"{where} must have a name of its own, but has that of another contender.")
        if staged.of not in self.ways:
            hint = nearest(staged.of, list(self.ways))
            found.append(f"{where} must be `of` a method or variant, but is of '{staged.of}' instead.{hint}")
        elif prunes and not found and not known:
            units, wanted = (
                self.resolved(changes).config.granularity
                for changes in (staged.settings, self.ways[staged.of])
            )
            if units != wanted:
                found.append(
                    f"{where} must have `settings.granularity` {wanted}, as '{staged.of}' has, but has "
                    f"{units} instead."
                )
        given = ("task", "method") if prunes else ("task", "passes.teacher")
        fixed = [key for key in (*self._the_same_for_all, *given) if _sets(staged.settings, key)]
        return found + [f"{where} must leave `{key}` to the comparison, but sets it." for key in fixed]


def _corpus(config: Config) -> tuple[str, object]:
    """The part of the task that determines the test utterances, whether set or taken from a preset."""
    return config.task.name, config.task.options.get("path")


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


def repeated(name: str, values: Sequence[object]) -> list[str]:
    """A problem if ``values`` are none, or some are equal."""
    if values and len(set(values)) == len(values):
        return []
    return [f"`{name}` must be some that differ, but are {list(values)} instead."]


def _sets(settings: Data, key: str) -> bool:
    """Whether the settings have the dotted key."""
    value: Any = settings
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True


def problems_of(settings: Data, changes: Sequence[Data], *, takes_budgets: bool = False) -> list[str]:
    """Problems with the settings under any of these changes, without repetitions; ``takes_budgets``: whether
    the study may be of budgets in place of sizes.
    """
    found: dict[str, None] = {}
    for change in changes:
        try:
            config = resolve([settings, change]).config
        except ConfigError as e:
            found |= dict.fromkeys(e.problems)
        else:
            found |= dict.fromkeys(_about_budgets(config, takes_budgets))
    return list(found)


def _about_budgets(config: Config, takes_budgets: bool) -> Iterator[str]:
    if any(wish.quantity == "latency" for wish in config.wishes):
        yield (
            "`budgets` of a study must limit units, params or macs, but limit latency instead, which differs "
            "from one measurement to the next."
        )
    if config.budgets is not None and not takes_budgets:
        yield "`budgets` must be left out of a study that is no comparison: give `sizes` instead."
