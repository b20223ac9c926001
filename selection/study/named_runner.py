"""Trials that are known by name, such as the trainings of a comparison: a study may get more, or fewer."""

from __future__ import annotations

import statistics
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from selection.study.preferred_rate import preferred_rate
from selection.study.trial_runner import (
    Planned,
    Surplus,
    TrialRunner,
    given,
    train_exclusively,
    valid_rates,
)
from supernet.console.screen import console
from supernet.runs.resolve import Resolved
from supernet.runs.run import Run

S = TypeVar("S")


class NamedTraining(Protocol):
    """A training with a name."""

    @property
    def name(self) -> str:
        """Name of the run's folder."""

    @property
    def steps(self) -> int:
        """The number of updates."""

    def at_rate(self: S, rate: float) -> S:
        """The same training with another learning rate."""


T = TypeVar("T", bound=NamedTraining)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a trial."""

    value: float
    notes: Mapping[str, Any]
    """What reports need."""
    files: Sequence[Path]
    """What is kept as artifacts."""


class NamedRunner(TrialRunner, Generic[T]):
    """Runs a trial for each of some named trainings.

    A trial's only parameter is the name of its training. It is given when the trial is queued, not drawn,
    because Optuna does not let the choices of a parameter change.
    """

    directions = ("minimize",)
    parameter: ClassVar[str]
    """The name of the parameter."""

    def __init__(self, folder: Path, trainings: Iterable[T], rates: Sequence[float]) -> None:
        """
        Args:
            folder: The study's folder.
            trainings: The trainings.
            rates: The learning rates of which each has the one that validation prefers. None: its own.
        """
        super().__init__(folder)
        self._trainings = {training.name: training for training in trainings}
        self._rates = rates

    @abstractmethod
    def resolved(self, training: T) -> Resolved:
        """The configuration of a training, whose stages before it are trained first."""

    @abstractmethod
    def tried(self, training: T) -> T:
        """The training with which the learning rate of ``training`` is chosen."""

    @abstractmethod
    def unit_steps(self, training: T) -> float:
        """The compute to expect."""

    @abstractmethod
    def outcome(self, study: Study, training: T) -> Outcome:
        """Train, unless that was done, and judge the network."""

    def fits(self, training: T, trial: FrozenTrial) -> bool:
        """Whether a finished trial has recorded all that is wanted of ``training``."""
        return True

    @property
    def total(self) -> int:
        return len(self._trainings)

    def first(self) -> Sequence[dict[str, Any]]:
        return [{self.parameter: name} for name in self._trainings]

    def before(self, study: Study) -> None:
        self.queue(study)

    def counted(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """A trial for each training, which has ended if any of its trials has."""
        found = dict[str, FrozenTrial]()
        for trial in sorted(trials, key=lambda t: (not t.state.is_finished(), t.state != TrialState.RUNNING)):
            training = self._trainings.get(given(trial).get(self.parameter, ""))
            if training is not None and (not trial.state.is_finished() or self.fits(training, trial)):
                found.setdefault(training.name, trial)
        return list(found.values())

    def run(self, trial: Trial, original: int) -> float:
        values = given(trial.study.get_trials(deepcopy=False)[trial.number])
        if (training := self._trainings.get(values.get(self.parameter, ""))) is None:
            raise Surplus
        console.print(f"{training.name}  run {trial.number + 1}, {self.total} in all", highlight=False)
        outcome = self.outcome(trial.study, training)
        for name, note in outcome.notes.items():
            trial.set_user_attr(name, note)
        self.keep(trial, outcome.files)
        return outcome.value

    def plan(self) -> list[Planned]:
        found = dict[str, T]()
        for training in self._trainings.values():
            tried = self.tried(training)
            found |= {tried.at_rate(rate).name: tried for rate in self._rates}
            if not self._rates or tried != training:
                found[training.name] = training
        return [Planned(name, one.steps, partial(self.unit_steps, one)) for name, one in found.items()]

    def at_its_rate(self, study: Study, training: T) -> T:
        """The training with the learning rate that validation prefers for it."""
        if not self._rates:
            return training
        tried = self.tried(training)

        def error(rate: float) -> float:
            return self.valid_error(tried.at_rate(rate))

        return training.at_rate(preferred_rate(study, tried.name, self._rates, error, console.print))

    def valid_error(self, training: T) -> float:
        """Train, and return the mean error rate of all sizes on the validation split."""
        resolved, run = self.resolved(training), self.run_of(training)
        train_exclusively(resolved, run.folder)
        return statistics.mean(valid_rates(run, resolved)["errors"].values())

    def run_of(self, training: T) -> Run:
        return Run(self.folder / "runs" / training.name)
