"""The trials of ``compare``: each one trains a run of a method or variant, and judges all choices from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from selection.comparing.compare import compare
from selection.comparing.comparison import Comparison
from selection.comparing.session import SelectionRequest, Session
from selection.study.contenders import Lineup, Training, seconds_a_step
from selection.study.definition import CompareDefinition, FineTuning
from selection.study.named_runner import NamedRunner, Outcome
from selection.study.trial_runner import train_exclusively
from supernet.budget import Wish
from supernet.console.progress import progress
from supernet.evaluation.score_sizes import ScoringRequest, score_sizes
from supernet.network.model_costs import MACS_SECONDS
from supernet.network.unit_prices import unit_macs
from supernet.runs.model_file import Model, load
from supernet.runs.opening import open_model
from supernet.runs.resolve import Resolved
from supernet.runs.run import Run
from supernet.runs.selection_file import Selection
from supernet.scoring.error_rates import COLUMN, count_errors, count_words, measure_of
from supernet.settings.plugins import load_plugin
from supernet.task import ProgressCallback

TRAINING = "training"
"""The only parameter of a trial: the name of its run."""
SubnetRecords = list[dict[str, Any]]
"""The notes about each subnet that a trial has judged."""


class CompareRunner(NamedRunner[Training]):
    """Trains the runs of a comparison, lets strategies choose, and records the errors on each utterance."""

    parameter = TRAINING

    def __init__(self, definition: CompareDefinition, folder: Path) -> None:
        self._lineup = Lineup(definition)
        super().__init__(folder, self._lineup.trainings(), definition.rates)
        self.definition = definition

    def fits(self, training: Training, trial: FrozenTrial) -> bool:
        """Whether all strategies that are wanted have chosen, which may be more than when it was run."""
        notes = trial.user_attrs
        judged = notes.get("strategies", [row["strategy"] for row in notes.get("rows", [])])
        return {*self._strategies(training)} <= {*judged}

    def outcome(self, study: Study, training: Training) -> Outcome:
        """Train one run and judge all choices from it; the value is the mean test error of its subnets."""
        training = self.at_its_rate(study, training)
        run = self.run_of(training)
        resolved = self.resolved(training)
        results = train_exclusively(resolved, run.folder)
        rows = own_rows(run, results)
        if strategies := self._strategies(training):
            rows += chosen_rows(run, resolved, strategies)
        error = sum(float(row["rate"]) for row in rows if row["strategy"] is None) / len(training.sizes)
        selections = [run.selection_file(strategy) for strategy in strategies]
        notes = self._notes(training, resolved, results, rows)
        return Outcome(error, notes, [run.results_file, *selections])

    def at_its_rate(self, study: Study, training: Training) -> Training:
        """The training, and the stage before it, with the learning rate that validation prefers for it."""
        if training.start is not None:
            training = replace(training, start=self.at_its_rate(study, training.start))
        return super().at_its_rate(study, training)

    def tried(self, training: Training) -> Training:
        return training.with_seed(self.definition.seeds[0])

    def unit_steps(self, training: Training) -> float:
        return self._lineup.unit_steps(training)

    def resolved(self, training: Training) -> Resolved:
        """The training's configuration; the stage before it is trained first, here or elsewhere."""
        start, changes = training.start, training.changes()
        if start is None:
            return self.definition.resolved(self.definition.ways[training.way], changes)
        before, run = self.resolved(start), self.run_of(start)
        train_exclusively(before, run.folder)
        staged = self.definition.staged[training.way]
        if not isinstance(staged, FineTuning):
            teacher = {"passes": {"teacher": str(run.folder.absolute())}}
            return self.definition.resolved(staged.settings, changes, teacher)
        kept = self._pruned(run, before, staged.strategy, training.sizes[0])
        method = {"name": "individual", "kept": list(kept)}
        begin = {"method": method, "model": {"init": str(run.folder)}}
        return self.definition.resolved(staged.settings, changes, begin)

    def _pruned(self, run: Run, resolved: Resolved, strategy: str, size: str) -> tuple[str, ...]:
        """The units of ``size`` that the strategy chooses from the run's network on the validation split."""
        *smaller, _ = self._lineup.sizes
        file = run.selection_file(strategy)
        if not file.is_file() or not {*smaller} <= {c.budget for c in Selection.load(file).choices}:
            with progress() as report:
                _chosen(run, resolved, [strategy], smaller, report)
        return Selection.load(file).choice(size).subnet.kept

    def _strategies(self, training: Training) -> Sequence[str]:
        return self.definition.strategies_of(training.way)

    def _notes(
        self, training: Training, resolved: Resolved, results: Mapping[str, Any], rows: SubnetRecords
    ) -> dict[str, Any]:
        """Everything that reports need."""
        run = self.run_of(training)
        _, references, _ = zip(*run.transcripts(f"test-{rows[0]['label']}"), strict=True)
        measure = measure_of(references)
        return {
            "method": training.label,
            "seed": training.seed,
            "updates": training.steps,
            "lr": resolved.config.train.lr,
            "unit_steps": self._lineup.in_own_units(results["unit_steps"], resolved),
            "training_macs": training_macs(run, resolved, results["unit_steps"]),
            "training_seconds": round(run.training_seconds(), 1),
            "measure": measure,
            "words": count_words(references)[:, COLUMN[measure]].tolist(),
            "strategies": list(self._strategies(training)),
            "rows": rows,
        }


def own_rows(run: Run, results: Mapping[str, Any]) -> SubnetRecords:
    """Notes about the subnets with which the run was trained."""
    return [_row(run, None, size, size, facts) for size, facts in results["sizes"].items()]


def chosen_rows(run: Run, resolved: Resolved, strategies: Sequence[str]) -> SubnetRecords:
    """Notes about each strategy's choices from the run's network on the validation split, for each size."""
    sizes = resolved.config.names
    with progress() as report:
        model, comparison = _chosen(run, resolved, strategies, sizes, report)
        chosen = {
            (name, choice.budget): choice.subnet
            for name in strategies
            for choice in Selection.load(run.selection_file(name)).choices
        }
        labeled = {f"{name}-{size}": subnet for (name, size), subnet in chosen.items()}
        scored = score_sizes(run, model, resolved.task, ScoringRequest(labeled, ["test"]), report).sizes
    effort = {(row.strategy, contest.budget): row for contest in comparison.contests for row in contest.rows}
    rows = [_row(run, name, size, f"{name}-{size}", scored[f"{name}-{size}"]) for name, size in chosen]
    for row in rows:  # the full network was not chosen by a strategy
        found = effort.get((row["strategy"], row["size"]))
        row["evaluations"], row["seconds"] = (found.evaluations, found.seconds) if found else (0, 0.0)
    return rows


def _chosen(
    run: Run, resolved: Resolved, strategies: Sequence[str], sizes: Sequence[str], report: ProgressCallback
) -> tuple[Model, Comparison]:
    """The run's network, and what the strategies chose from it, which is saved in the run folder."""
    model = open_model(run, resolved.config.device)
    request = SelectionRequest(
        {name: load_plugin("strategy", name, [])[0]() for name in strategies},
        [Wish.parse(size) for size in sizes],
    )
    resolved.task.prepare(report)
    return model, compare(Session(run, model, resolved.task, request, report))


def _row(run: Run, strategy: str | None, size: str, label: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    _, references, hypotheses = zip(*run.transcripts(f"test-{label}"), strict=True)
    measure = measure_of(references)
    return {
        "strategy": strategy,
        "size": size,
        "label": label,
        "kept": facts["kept"],
        "params": facts["params"],
        "macs": facts["macs"],
        "wer": facts["test"]["wer"],
        "cer": facts["test"]["cer"],
        "rate": facts["test"][measure],
        "errors": count_errors(references, hypotheses)[:, COLUMN[measure]].tolist(),
        "evaluations": 0,
        "seconds": 0.0,
    }


def training_macs(run: Run, resolved: Resolved, unit_steps: float) -> float:
    """Multiply-accumulates of a training's units, forward and (twice as many) backward, for the seconds of
    speech in its batches. Frontend and heads are not counted, as in ``unit_steps``.
    """
    config = resolved.config
    seconds = seconds_a_step(config)
    units = unit_macs(load(run.model_stem).recognizer, MACS_SECONDS).units
    return 3 * unit_steps * seconds / MACS_SECONDS * sum(units) / len(units)
