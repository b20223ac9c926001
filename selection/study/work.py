"""The loop of a worker: it takes a trial, runs it and tells the outcome until all trials have ended. Workers
elsewhere do the same; they know of each other only through the storage.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from selection.study.storage import RETRY
from selection.study.trial_runner import ALIVE, ENDED, POLL_SECONDS, Surplus, TrialRunner
from supernet.console.screen import console

ALREADY_ENDED = (ValueError, AssertionError, UpdateFinishedTrialError)
"""Errors that Optuna raises, in different places, if the outcome of an ended trial is reported again."""


def work(study: Study, runner: TrialRunner) -> None:
    """Run trials until all of them have ended, here or elsewhere."""
    runner.queue(study)
    while _num_left(study, runner):
        if _is_open(study, runner):
            runner.before(study)
            _Attempt(study, runner).run()
        else:
            _wait(study, runner)


def ended(study: Study) -> list[FrozenTrial]:
    """Trials with an outcome."""
    return study.get_trials(deepcopy=False, states=ENDED)


class _Attempt:
    """One trial that this worker takes from the study."""

    def __init__(self, study: Study, runner: TrialRunner) -> None:
        self._study, self._runner = study, runner
        self._number: int | None = None
        self._is_done = False

    def run(self) -> None:
        """Take a trial, run it and tell the outcome; an interrupted trial is queued again."""
        try:
            self._study.optimize(self._objective, n_trials=1, catch=(Surplus,))
        except KeyboardInterrupt:
            if self._number is not None:
                RETRY(self._study, self._study.get_trials()[self._number])
            raise
        except ALREADY_ENDED:
            if not self._is_lost():
                raise
            console.print("this worker was taken for dead, and its trial is run by another one")

    def _objective(self, trial: Trial) -> float | Sequence[float]:
        self._number = trial.number
        if trial.number in _surplus(self._study, self._runner):
            raise Surplus
        original = RETRY.retried_trial_number(self._study.get_trials(deepcopy=False)[trial.number])
        values = self._runner.run(trial, trial.number if original is None else original)
        self._is_done = True
        return values

    def _is_lost(self) -> bool:
        """Whether the trial was run to its end, but given to another worker in the meantime."""
        if self._number is None or not self._is_done:
            return False
        return self._study.get_trials(deepcopy=False)[self._number].state.is_finished()


def _wait(study: Study, runner: TrialRunner) -> None:
    """Wait for the trials of other workers, and for those of workers that die to be queued again."""
    console.print(f"waiting for {_num_left(study, runner)} trials that other workers run")
    while _num_left(study, runner) and not _is_open(study, runner):
        fail_stale_trials(study)
        time.sleep(POLL_SECONDS)


def _num_left(study: Study, runner: TrialRunner) -> int:
    """The number of wanted trials that have not ended."""
    return max(0, runner.total - len(runner.counted(ended(study))))


def _is_open(study: Study, runner: TrialRunner) -> bool:
    """Whether there is a trial to take."""
    alive = runner.counted(study.get_trials(deepcopy=False, states=ALIVE))
    return len(alive) < runner.total or any(trial.state == TrialState.WAITING for trial in alive)


def _surplus(study: Study, runner: TrialRunner) -> list[int]:
    """The numbers of trials beyond those wanted, begun by several workers at once; retries never are."""
    alive = study.get_trials(deepcopy=False, states=ALIVE)
    alive.sort(key=lambda t: (RETRY.retried_trial_number(t) is None, t.number))
    wanted = {trial.number for trial in runner.counted(alive)[: runner.total]}
    return [trial.number for trial in alive if trial.number not in wanted]
