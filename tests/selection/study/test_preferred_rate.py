"""The learning rate that validation prefers is found once, also where trainings diverge."""

from __future__ import annotations

import math

import optuna
import pytest

from selection.study.preferred_rate import preferred_rate, tried
from supernet.errors import Divergence

ERRORS = {0.1: 0.5, 0.01: 0.2, 0.001: 0.3}


def test_the_rate_with_the_lowest_error_is_found_once() -> None:
    study, asked, said = optuna.create_study(), list[float](), list[str]()

    def error(rate: float) -> float:
        asked.append(rate)
        if rate == 0.1:
            raise Divergence("the loss must stay finite")
        return ERRORS[rate]

    for _ in range(2):
        assert preferred_rate(study, "a-1-seed0", tuple(ERRORS), error, said.append) == 0.01
    assert (
        said[-1] == "a-1-seed0: learning rate 0.01 (validation errors 0.1: inf%, 0.01: 20.00%, 0.001: 30.00%)"
    )
    assert asked == [0.1, 0.01, 0.001]
    assert tried(study, "a-1-seed0") == {0.1: math.inf, 0.01: 0.2, 0.001: 0.3}
    assert tried(study, "a-2-seed0") is None


def test_a_training_that_always_diverges_is_an_error() -> None:
    def error(rate: float) -> float:
        raise Divergence("the loss must stay finite")

    with pytest.raises(Divergence, match="`rates` must have one with which `a` does not diverge"):
        preferred_rate(optuna.create_study(), "a", (0.1, 0.2), error, print)
