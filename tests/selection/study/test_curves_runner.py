"""The points of learning curves, whose learning rates validation has chosen."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from selection.study.curves_definition import CurvePoint, CurvesDefinition
from selection.study.curves_runner import CurvesRunner
from selection.study.definition import checked
from selection.study.preferred_rate import preferred_rate

MODEL = {"dim": 16, "num_heads": 2, "ffn_dim": 32, "kernel": 3, "frontend_channels": 2}


@pytest.mark.parametrize("rates_at", [None, 1.0])
def test_a_training_that_was_validated_to_choose_its_rate_is_not_validated_again(
    rates_at: float | None, tmp_path: Path
) -> None:
    settings = {"sizes": [2], "model": MODEL, "train": {"num_steps": 10}}
    data = {
        "settings": settings,
        "lengths": [1, 2],
        "rates": [0.1, 0.2],
        "rates_at": rates_at,
        "seeds": [0, 1],
    }
    runner, study = CurvesRunner(checked(CurvesDefinition, data), tmp_path), optuna.create_study()
    errors = {0.1: 0.5, 0.2: 0.25}
    preferred_rate(study, "2-10-seed0", [0.1, 0.2], errors.__getitem__, lambda said: None)
    short, longer, other_seed = CurvePoint(2, 10, 0), CurvePoint(2, 20, 0), CurvePoint(2, 10, 1)
    assert runner.at_its_rate(study, short) == short.at_rate(0.2)
    assert runner.known_error(study, short, short.at_rate(0.2)) == 0.25
    for point in (longer, other_seed):
        assert runner.known_error(study, point, point.at_rate(0.2)) is None
    assert runner.known_error(study, short, short) is None
