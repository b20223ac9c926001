"""One worker of a study: takes a trial, runs it, tells the outcome, until there is none left. Others do the
same elsewhere, and know of each other through the storage alone.
"""

from __future__ import annotations

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.artifacts import upload_artifact
from optuna.storages import fail_stale_trials
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from selection.study.storage import RETRY, Direction, artifacts
from supernet.commands.train import Validated, train_one
from supernet.console.screen import console
from supernet.runs.resolve import Resolved
from supernet.system.folders import InUse

POLL_SECONDS = 2.0
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
OPEN = (TrialState.WAITING, TrialState.RUNNING)


class Surplus(Exception):
    """A trial that another worker has taken meanwhile, or that nobody asked for."""


class TrialRunner(ABC):
    """What a study's trials do."""

    directions: Sequence[Direction]

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    @abstractmethod
    def total(self) -> int:
        """How many trials there are to be."""

    @abstractmethod
    def first(self) -> Sequence[dict[str, Any]]:
        """The values of the trials that are known before anything is sampled."""

    @abstractmethod
    def run(self, trial: Trial, original: int) -> float | Sequence[float]:
        """Run a trial, or continue what ``original`` (its own number, or of the trial it retries) began."""

    def before(self, study: Study) -> None:  # noqa: B027 (optional)
        """Called before a trial is taken."""

    def keep(self, trial: Trial, files: Sequence[Path]) -> None:
        """Keep ``files`` as the trial's artifacts."""
        store = artifacts(self.folder)
        for file in files:
            upload_artifact(study_or_trial=trial, file_path=str(file), artifact_store=store)


def train_alone(resolved: Resolved, folder: Path, validated: Validated | None = None) -> Mapping[str, Any]:
    """``train_one``, as soon as no other worker trains in ``folder``: one that was silent
    for too long, and taken for dead, may be alive.
    """
    for attempt in itertools.count():
        try:
            return train_one(resolved, folder, validated)
        except InUse:
            if attempt == 0:
                console.print(f"waiting for another worker that trains in {folder}", highlight=False)
            time.sleep(POLL_SECONDS)
    raise AssertionError("unreachable")


def work(study: Study, job: TrialRunner) -> None:
    """Run trials until all of them have ended, here or elsewhere."""
    for values in job.first():
        if not any(_same(values, trial) for trial in _alive(study)):
            study.enqueue_trial(values)
    while len(ended(study)) < job.total:
        if _is_open(study, job.total):
            job.before(study)
            _run_one(study, job)
        else:
            _wait(study, job.total)


def _wait(study: Study, total: int) -> None:
    """Wait for the trials that others run: should one of their workers die, its trial is ours."""
    console.print(f"waiting for {total - len(ended(study))} trials that other workers run")
    while len(ended(study)) < total and not _is_open(study, total):
        fail_stale_trials(study)
        time.sleep(POLL_SECONDS)


def ended(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=ENDED)


def _alive(study: Study) -> list[FrozenTrial]:
    """Trials that have an outcome, or will have one; surplus and lost ones have failed."""
    return study.get_trials(deepcopy=False, states=(*ENDED, *OPEN))


def _is_open(study: Study, total: int) -> bool:
    alive = _alive(study)
    return len(alive) < total or any(trial.state == TrialState.WAITING for trial in alive)


def _surplus(study: Study, total: int) -> list[int]:
    """The numbers of trials that workers began at once, beyond what is asked for; retries are none."""
    alive = sorted(_alive(study), key=lambda t: (RETRY.retried_trial_number(t) is None, t.number))
    return [trial.number for trial in alive[total:]]


def _run_one(study: Study, job: TrialRunner) -> None:
    taken: list[Trial] = []
    done: list[float | Sequence[float]] = []

    def objective(trial: Trial) -> float | Sequence[float]:
        taken.append(trial)
        if trial.number in _surplus(study, job.total):
            raise Surplus
        original = RETRY.retried_trial_number(study.get_trials(deepcopy=False)[trial.number])
        done.append(job.run(trial, trial.number if original is None else original))
        return done[0]

    try:
        study.optimize(objective, n_trials=1, catch=(Surplus,))
    except KeyboardInterrupt:
        if taken:  # somebody goes on with it, perhaps we ourselves
            RETRY(study, study.get_trials()[taken[0].number])
        raise
    except Exception:
        # What was run cannot be told (Optuna says so in several ways): this worker was silent for too long,
        # and another one has the trial.
        if not (done and study.get_trials(deepcopy=False)[taken[0].number].state.is_finished()):
            raise
        console.print("this worker was taken for dead, and its trial is run by another one")


def _same(values: dict[str, Any], trial: FrozenTrial) -> bool:
    """Whether ``trial`` is, or will be, the one that ``values`` ask for."""
    known = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    return all(key in known and known[key] == value for key, value in values.items())
