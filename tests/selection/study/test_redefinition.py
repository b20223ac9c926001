"""Studies may get more or fewer trainings, as long as those that have finished still fit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from selection.study.curves_definition import CurvesDefinition
from selection.study.definition import checked
from selection.study.redefinition import unfit
from selection.study.reporting.curves_report import notes_of

COMPARE: dict[str, Any] = {
    "kind": "compare",
    "settings": {"sizes": [2, 4]},
    "methods": {"individual": [], "on-demand": ["tail"]},
    "variants": {"hot": {"train": {"lr": 0.01}}},
    "strategies": {},
    "fine_tuned": {"tuned": {"of": "hot", "share": 0.5}},
    "distilled": {},
    "rates": [],
    "against": None,
    "seeds": [0, 1],
    "regimes": ["updates"],
    "reference_wer": 0.2,
}
CURVES: dict[str, Any] = {
    "kind": "curves", "settings": {"sizes": [2]}, "lengths": [1, 2], "rates": [0.1], "rates_at": None,
    "seeds": [0, 1],
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": {"on-demand": ["tail", "greedy"], "simple-top-k": []}},
        {"variants": {}, "fine_tuned": {}},
        {"variants": {"hot": {"train": {"lr": 0.01}}, "cold": {"train": {"lr": 0.0001}}}},
        {"seeds": [5], "regimes": ["compute"], "against": "hot", "reference_wer": 0.3},
    ],
)
def test_more_and_fewer_contenders_and_seeds_fit(changes: dict[str, Any]) -> None:
    assert unfit(COMPARE, {**COMPARE, **changes}) == []
    assert unfit({**COMPARE, **changes}, COMPARE) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"settings": {"sizes": [2, 3]}}, "settings.sizes was [2, 4], is [2, 3]"),
        ({"variants": {"hot": {"train": {"lr": 0.02}}}}, "hot.train.lr was 0.01, is 0.02"),
        ({"fine_tuned": {"tuned": {"of": "hot", "share": 0.4}}}, "tuned.share was 0.5, is 0.4"),
        ({"methods": {}, "variants": {"on-demand": {"granularity": "module"}}}, "on-demand.granularity was"),
        ({"rates": [0.1]}, "rates was [], is [0.1]"),
    ],
)
def test_other_settings_of_what_was_trained_do_not_fit(changes: dict[str, Any], line: str) -> None:
    assert any(found.startswith(line) for found in unfit(COMPARE, {**COMPARE, **changes}))


def test_learning_rates_belong_to_the_first_seed() -> None:
    tried = {**COMPARE, "rates": [0.1, 0.2]}
    assert unfit(tried, {**tried, "seeds": [0, 7]}) == []
    (problem,) = unfit(tried, {**tried, "seeds": [1, 0]})
    assert problem == "the first of seeds, with which rates are tried, was 0, is 1"


def test_curves_may_get_longer() -> None:
    assert unfit(CURVES, {**CURVES, "lengths": [2, 4], "seeds": [0, 1, 2]}) == []
    assert len(unfit(CURVES, {**CURVES, "lengths": [4], "seeds": [1], "rates_at": 2})) == 2
    assert len(unfit(CURVES, {**CURVES, "seeds": [1]})) == 1


def test_a_search_must_stay_as_it_is() -> None:
    assert unfit({"kind": "tune", "seeds": [0]}, {"kind": "tune", "seeds": [1]}) == ["seeds was [0], is [1]"]


def test_the_report_of_curves_has_the_points_of_its_definition() -> None:
    model = {"dim": 16, "num_heads": 2, "ffn_dim": 32, "kernel": 3, "frontend_channels": 2}
    settings = {"sizes": [2, 4], "model": model, "train": {"num_steps": 10}}
    definition = checked(CurvesDefinition, {"settings": settings, "lengths": [1, 2], "seeds": [0]})
    points = [(2, 10, 0), (2, 40, 0), (4, 20, 0), (4, 20, 1), (3, 10, 0), (2, 10, 0)]
    trials = [
        SimpleNamespace(user_attrs={"size": size, "updates": steps, "seed": seed, "error": number / 10})
        for number, (size, steps, seed) in enumerate(points)
    ]
    found = [(note["size"], note["updates"], note["error"]) for note in notes_of(trials, definition)]
    assert found == [(2, 10, 0.5), (4, 20, 0.2)], "the last of several is that with all that is wanted"
