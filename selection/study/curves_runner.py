"""The trials of ``curves``: each one trains one size for one number of updates, and validates it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import Trial

from selection.study.curves_definition import CurvePoint, CurvesDefinition
from selection.study.preferred_rate import preferred_rate
from selection.study.trial_runner import TrialRunner, train_exclusively, valid_rates
from supernet.console.screen import console
from supernet.runs.run import Run
from supernet.scoring.error_rates import judged_by

POINT = "point"
"""The only parameter of a trial: the name of its training."""


class CurvesRunner(TrialRunner):
    """Trains each size alone for each number of updates, and records its validation error rates."""

    directions = ("minimize",)

    def __init__(self, definition: CurvesDefinition, folder: Path) -> None:
        super().__init__(folder)
        self.definition = definition
        self._points = {point.name: point for point in definition.points()}

    @property
    def total(self) -> int:
        return len(self._points)

    def first(self) -> Sequence[dict[str, Any]]:
        return [{POINT: name} for name in self._points]

    def run(self, trial: Trial, original: int) -> float:
        """Train one point of the curves; return its error rate on the validation split."""
        point = self._points[trial.suggest_categorical(POINT, list(self._points))]
        console.print(f"{point.name}  run {trial.number + 1}, {self.total} in all", highlight=False)
        point = self._at_its_rate(trial.study, point)
        results, errors = self._train(point)
        run = self._run_of(point)
        notes = {
            "size": point.size,
            "updates": point.steps,
            "seed": point.seed,
            "lr": self.definition.resolved(point.changes()).config.train.lr,
            "measure": judged_by(results),
            "error": errors,
            "params": results["sizes"][str(point.size)]["params"],
            "macs": results["sizes"][str(point.size)]["macs"],
            "unit_steps": results["unit_steps"],
            "training_seconds": round(run.training_seconds(), 1),
        }
        for name, note in notes.items():
            trial.set_user_attr(name, note)
        self.keep(trial, [run.results_file])
        return errors

    def _at_its_rate(self, study: Study, point: CurvePoint) -> CurvePoint:
        if not self.definition.rates:
            return point
        tried = self.definition.trial_of_rates(point)

        def error(rate: float) -> float:
            return self._train(replace(tried, rate=rate))[1]

        return replace(
            point, rate=preferred_rate(study, tried.name, self.definition.rates, error, console.print)
        )

    def _train(self, point: CurvePoint) -> tuple[Mapping[str, Any], float]:
        """Results of the training, and its error rate on the validation split."""
        resolved, run = self.definition.resolved(point.changes()), self._run_of(point)
        results = train_exclusively(resolved, run.folder)
        return results, valid_rates(run, resolved)["errors"][point.size]

    def _run_of(self, point: CurvePoint) -> Run:
        return Run(self.folder / "runs" / point.name)
