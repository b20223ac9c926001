"""Values that a search reports to Optuna during a training and at its end."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from selection.study.definition import checked
from selection.study.tune_definition import TuneDefinition
from selection.study.tune_runner import Follow, TuneRunner
from supernet.scoring.error_rates import Measure
from tests.selection.commands.studies import SETTINGS


def rates(two: float, four: float) -> dict[str, float]:
    """Validation error rates: these for words, and half of them for characters."""
    return {"wer/2": two, "wer/4": four, "cer/2": two / 2, "cer/4": four / 2}


def test_sizes_that_are_trained_later_do_not_cause_pruning(tmp_path: Path) -> None:
    """With `passes.smallest_first`, larger sizes stay in the blank plateau for most of the run."""
    space = {"train.lr": {"low": 0.0005, "high": 0.02}}
    definition = checked(
        TuneDefinition, {"settings": {**SETTINGS, "task": "generated-speech"}, "space": space}
    )
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=0.5))
    trial = study.ask()
    follow = Follow(trial, TuneRunner(definition, tmp_path, 1), last=24)
    follow.validated(8, "wer", rates(0.4, 1.0))
    with pytest.raises(optuna.TrialPruned):
        follow.validated(12, "wer", rates(0.6, 1.0))
    assert study.trials[0].intermediate_values == {8: 0.4, 12: 0.6}


@pytest.mark.parametrize(
    ("objective", "measure", "value"),
    [("errors", "wer", 0.4), ("errors", "cer", 0.2), ("cer", "wer", 0.2), ("wer/4", "cer", 0.4)],
)
def test_a_search_uses_the_error_rate_of_the_script(
    objective: str, measure: Measure, value: float, tmp_path: Path
) -> None:
    settings = {"settings": {**SETTINGS, "task": "generated-speech"}, "objectives": [objective]}
    space = {"train.lr": {"low": 0.0005, "high": 0.02}}
    runner = TuneRunner(checked(TuneDefinition, {**settings, "space": space}), tmp_path, 1)
    study = optuna.create_study()
    Follow(study.ask(), runner, last=24).validated(8, measure, rates(0.4, 1.0))
    assert study.trials[0].intermediate_values == {8: value}
    judged = {"wer": {2: 0.4, 4: 1.0}, "cer": {2: 0.2, 4: 0.5}}
    (found,) = runner.values({"errors": judged[measure], **judged}, 10)
    mean = {"errors": sum(judged[measure].values()) / 2, "cer": 0.35, "wer/4": 1.0}
    assert found == pytest.approx(mean[objective])
