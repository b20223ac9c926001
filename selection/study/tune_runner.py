"""The trials of ``tune``: each one is a run with sampled settings, judged on the validation split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from selection.strategies.samplers import make_sampler
from selection.study.contenders import unit_steps_of
from selection.study.space import nested, setting_text, written
from selection.study.storage import Direction
from selection.study.trial_runner import (
    ENDED,
    Planned,
    Rates,
    Surplus,
    TrialRunner,
    train_exclusively,
    valid_rates,
)
from selection.study.tune_definition import TuneDefinition
from selection.study.work import ended
from supernet.console.screen import console
from supernet.console.training import ConsoleListener
from supernet.errors import ConfigError, Divergence
from supernet.runs.resolve import Resolved
from supernet.runs.run import Run
from supernet.scoring.error_rates import Measure, judged_by


class TuneRunner(TrialRunner):
    """Samples settings, trains with them, and reports the error rates of all sizes."""

    def __init__(self, definition: TuneDefinition, folder: Path, num_trials: int) -> None:
        super().__init__(folder)
        self.definition, self._num_trials = definition, num_trials
        self.directions: Sequence[Direction] = ["minimize" for _ in definition.objectives]
        self._seed = definition.resolved().config.seed

    @property
    def total(self) -> int:
        return self._num_trials

    def first(self) -> Sequence[dict[str, Any]]:
        listed = self.definition.trials[: self.total]
        return [{key: written(value) for key, value in values.items()} for values in listed]

    def plan(self) -> list[Planned]:
        resolved = self.definition.resolved()
        cost = cache(lambda: unit_steps_of(resolved))  # sampled settings cost about as much
        steps = resolved.config.train.num_steps
        return [Planned(f"trial-{number:04}", steps, cost) for number in range(self.total)]

    def before(self, study: Study) -> None:
        """Use a new seed for each trial, so that a continued search does not draw the same values again."""
        sampler, seed = self.definition.sampler, self._seed + len(study.get_trials(deepcopy=False))
        study.sampler = make_sampler(sampler.name, sampler.options, seed)

    def run(self, trial: Trial, original: int) -> float | Sequence[float]:
        """Train with the sampled settings; returns a value for each objective."""
        values = {key: dimension.suggest(trial, key) for key, dimension in self.definition.space.items()}
        said = "  ".join(f"{key}={setting_text(value)}" for key, value in values.items())
        console.print(f"trial {trial.number}, {self.total} in all   {said}")
        if (known := self._known(trial)) is not None:
            return self._reuse(trial, known)
        try:
            resolved = self.definition.resolved(nested(values))
        except ConfigError as e:  # each value is valid, but not their combination
            trial.set_user_attr("pruned", str(e))
            raise optuna.TrialPruned(str(e)) from None
        return self._train(trial, resolved, Run(self.folder / "runs" / f"trial-{original:04}"))

    def _known(self, trial: Trial) -> FrozenTrial | None:
        """A finished trial with the same values, which need not be trained twice."""
        others = trial.study.get_trials(deepcopy=False, states=(*ENDED, TrialState.RUNNING))
        same = [t for t in others if t.number != trial.number and t.params == trial.params]
        if any(t.state == TrialState.RUNNING and t.number < trial.number for t in same):
            raise Surplus
        return next((t for t in same if t.state in ENDED), None)

    def _reuse(self, trial: Trial, known: FrozenTrial) -> Sequence[float]:
        console.print(f"the same settings as trial {known.number}")
        trial.set_user_attr("same_as", known.number)
        for name, note in known.user_attrs.items():
            trial.set_user_attr(name, note)
        if known.state == TrialState.PRUNED:
            raise optuna.TrialPruned(f"the same settings as trial {known.number}, which was pruned")
        return list(known.values)

    def _train(self, trial: Trial, resolved: Resolved, run: Run) -> float | Sequence[float]:
        trial.set_user_attr("run", run.folder.name)
        last = resolved.config.train.num_steps
        follow = Follow(trial, self, last) if len(self.directions) == 1 else None
        try:
            results = train_exclusively(resolved, run.folder, follow)
        except Divergence as e:
            trial.set_user_attr("pruned", str(e))
            raise optuna.TrialPruned(str(e)) from None
        valid, measure = valid_rates(run, resolved), judged_by(results)
        notes = {
            "measure": measure,
            "valid": {str(size): rate for size, rate in valid["errors"].items()},
            "test": {size: row["test"][measure] for size, row in results["sizes"].items()},
            "unit_steps": results["unit_steps"],
            "training_seconds": round(run.training_seconds(), 1),
        }
        for name, note in notes.items():
            trial.set_user_attr(name, note)
        self.keep(trial, [run.results_file, run.config_file])
        return self._say(trial, self.values(valid, results["unit_steps"]))

    def values(self, rates: Rates, unit_steps: float) -> list[float]:
        """The value of each objective, from validation error rates and the training's cost."""
        known = {"compute": float(unit_steps)}
        for name, by_size in rates.items():
            known |= {name: self.mean(by_size)} | {f"{name}/{size}": rate for size, rate in by_size.items()}
        return [known[name] for name in self.definition.objectives]

    def mean(self, rates: Mapping[int, float]) -> float:
        """Mean over the sizes, relative to the reference if there is one."""
        relative = self.relative(rates)
        return sum(relative) / len(relative)

    def relative(self, rates: Mapping[int, float]) -> list[float]:
        """Error rates of the sizes, relative to the reference if there is one."""
        reference = self.definition.reference or dict.fromkeys(rates, 1.0)
        return [rate / reference[size] for size, rate in rates.items()]

    def _say(self, trial: Trial, values: list[float]) -> list[float]:
        """Print the values of the trial, and the best value so far."""
        text = "  ".join(
            f"{n} {setting_text(v)}" for n, v in zip(self.definition.objectives, values, strict=True)
        )
        best = ""
        if len(values) == 1:
            completed = [
                (t.values[0], t.number) for t in ended(trial.study) if t.state == TrialState.COMPLETE
            ]
            value, number = min([*completed, (values[0], trial.number)])
            best = f"   best so far: {setting_text(value)} (trial {number})"
        console.print(f"trial {trial.number}: {text}{best}")
        return values


class Follow(ConsoleListener):
    """Reports the error rate of the best size at each validation to Optuna, whose pruner may end the
    training. Larger sizes may start later (`passes.smallest_first`), and are uninformative until then.
    """

    def __init__(self, trial: Trial, runner: TuneRunner, last: int) -> None:
        """``last``: the last step, at which pruning would save nothing."""
        self._trial, self._runner, self._last = trial, runner, last

    def validated(self, step: int, measure: Measure, rates: Mapping[str, float]) -> None:
        (objective,) = self._runner.definition.objectives
        if objective == "compute":
            return
        wanted = objective.partition("/")[0]
        wanted = f"{measure if wanted == 'errors' else wanted}/"
        sizes = {int(k.removeprefix(wanted)): rate for k, rate in rates.items() if k.startswith(wanted)}
        self._trial.report(min(self._runner.relative(sizes)), step)
        if step < self._last and self._trial.should_prune():
            self._trial.set_user_attr("pruned", f"at step {step}")
            console.print(f"trial {self._trial.number} pruned at step {step}")
            raise optuna.TrialPruned
