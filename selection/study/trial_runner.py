"""The interface between a study and its trials: what to run, how often, and what to keep."""

from __future__ import annotations

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.artifacts import upload_artifact
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from selection.study.storage import Direction, artifacts
from supernet.console.progress import progress
from supernet.console.screen import console
from supernet.console.training import ConsoleListener, train_on_console
from supernet.evaluation.score_sizes import ScoringRequest, score_sizes
from supernet.runs.opening import open_model
from supernet.runs.resolve import Resolved
from supernet.runs.run import Run
from supernet.scoring.error_rates import judged_by
from supernet.system.folders import InUse

POLL_SECONDS = 2.0
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
OPEN = (TrialState.WAITING, TrialState.RUNNING)
ALIVE = (*ENDED, *OPEN)
"""States of trials that have an outcome or can still get one; surplus and lost ones have failed."""
ERRORS = ("errors", "wer", "cer")
"""Kinds of error rates; the first is that by which the texts are judged."""
Rates = Mapping[str, Mapping[int, float]]
"""Error rates by kind and size."""


class Surplus(Exception):
    """Raised in a trial that another worker has taken as well, or that exceeds the number wanted."""


@dataclass(frozen=True)
class Planned:
    """A training that a study needs."""

    name: str
    steps: int
    """The number of updates."""
    unit_steps: Callable[[], float]
    """Computes the unit-steps to expect, see ``supernet.training.compute``."""


def given(trial: FrozenTrial) -> dict[str, Any]:
    """The parameters of a trial: those drawn, and those given when it was queued."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


class TrialRunner(ABC):
    """Runs the trials of a study; ``work`` calls it until all of them have ended."""

    directions: Sequence[Direction]
    """The direction of each objective."""

    def __init__(self, folder: Path) -> None:
        """``folder``: the study's folder."""
        self.folder = folder

    @property
    @abstractmethod
    def total(self) -> int:
        """Number of trials wanted."""

    @abstractmethod
    def first(self) -> Sequence[dict[str, Any]]:
        """The parameters of the trials that are known before anything is sampled."""

    @abstractmethod
    def run(self, trial: Trial, original: int) -> float | Sequence[float]:
        """Run a trial, or continue one whose worker died.

        Args:
            trial: The trial, whose parameters are sampled here.
            original: The number of the trial that this one retries; its own number if it is no retry.

        Returns:
            A value for each objective.

        Raises:
            optuna.TrialPruned: The trial is ended early.
            Surplus: The trial is not needed; it fails, and work goes on.
        """

    @abstractmethod
    def plan(self) -> list[Planned]:
        """The trainings of a new study."""

    def counted(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Those of ``trials`` that count among the number wanted, in order of preference."""
        return list(trials)

    def queue(self, study: Study) -> None:
        """Queue the trials known beforehand that are neither queued, nor running, nor ended."""
        known = [*map(given, self.counted(study.get_trials(deepcopy=False, states=ALIVE)))]
        for parameters in self.first():
            if not any(parameters.items() <= values.items() for values in known):
                study.enqueue_trial(parameters)
                known.append(parameters)

    def before(self, study: Study) -> None:  # noqa: B027 (optional)
        """Prepare ``study``, such as its sampler, before the next trial is taken."""

    def keep(self, trial: Trial, files: Sequence[Path]) -> None:
        """Keep ``files`` as the trial's artifacts."""
        store = artifacts(self.folder)
        for file in files:
            upload_artifact(study_or_trial=trial, file_path=str(file), artifact_store=store)


def train_exclusively(
    resolved: Resolved, folder: Path, listener: ConsoleListener | None = None
) -> Mapping[str, Any]:
    """Call ``train_on_console`` once no other worker trains in ``folder``: one that was silent for too long,
    and therefore replaced, may still be alive.
    """
    for attempt in itertools.count():
        try:
            return train_on_console(resolved, folder, listener)
        except InUse:
            if attempt == 0:
                console.print(f"waiting for another worker that trains in {folder}", highlight=False)
            time.sleep(POLL_SECONDS)
    raise AssertionError("unreachable")


def valid_rates(run: Run, resolved: Resolved) -> Rates:
    """The validation error rates of every size of a finished run."""
    subnets = {str(size): subnet for size, subnet in run.subnets().items()}
    with progress() as report:
        resolved.task.prepare(report)
        model = open_model(run, resolved.config.device)
        scored = score_sizes(run, model, resolved.task, ScoringRequest(subnets, ["valid"]), report).sizes
    measure = judged_by({"sizes": scored})
    return {
        name: {int(size): row["valid"][measure if name == "errors" else name] for size, row in scored.items()}
        for name in ERRORS
    }
