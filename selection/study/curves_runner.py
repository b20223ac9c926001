"""The trials of ``curves``: each one trains one size for one number of updates, and validates it."""

from __future__ import annotations

from pathlib import Path

from optuna.study import Study

from selection.study.contenders import unit_steps_of
from selection.study.curves_definition import CurvePoint, CurvesDefinition
from selection.study.named_runner import NamedRunner, Outcome
from selection.study.preferred_rate import tried
from selection.study.trial_runner import train_exclusively
from supernet.runs.resolve import Resolved
from supernet.scoring.error_rates import judged_by


class CurvesRunner(NamedRunner[CurvePoint]):
    """Trains each size alone for each number of updates, and records its validation error rates."""

    parameter = "point"

    def __init__(self, definition: CurvesDefinition, folder: Path) -> None:
        super().__init__(folder, definition.points(), definition.rates)
        self.definition = definition

    def outcome(self, study: Study, training: CurvePoint) -> Outcome:
        """Train one point of the curves; its value is its error rate on the validation split."""
        point = self.at_its_rate(study, training)
        resolved, run = self.resolved(point), self.run_of(point)
        results = train_exclusively(resolved, run.folder)
        error = self.known_error(study, training, point)
        if error is None:
            error = self.valid_error(point)
        notes = {
            "size": point.size,
            "updates": point.steps,
            "seed": point.seed,
            "lr": resolved.config.train.lr,
            "measure": judged_by(results),
            "error": error,
            "params": results["sizes"][str(point.size)]["params"],
            "macs": results["sizes"][str(point.size)]["macs"],
            "unit_steps": results["unit_steps"],
            "training_seconds": round(run.training_seconds(), 1),
        }
        return Outcome(error, notes, [run.results_file])

    def known_error(self, study: Study, training: CurvePoint, point: CurvePoint) -> float | None:
        """The validation error rate of ``point``, if the learning rate of ``training`` was chosen with it."""
        chosen_with = self.tried(training)
        known = tried(study, chosen_with.name)
        if known is None or point.rate is None or chosen_with.at_rate(point.rate) != point:
            return None
        return known[point.rate]

    def resolved(self, training: CurvePoint) -> Resolved:
        return self.definition.resolved(training.changes())

    def tried(self, training: CurvePoint) -> CurvePoint:
        return self.definition.trial_of_rates(training)

    def unit_steps(self, training: CurvePoint) -> float:
        return unit_steps_of(self.resolved(training))
