"""Confidences by hand, their order, their calibration, and thresholds that reach a target."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from supernet.errors import ArgumentError
from supernet.scoring.calibration import area_under_curve, platt
from supernet.scoring.cascades import (
    Outcome,
    Rule,
    SizeOutcome,
    best_measure,
    cascade_rows,
    curve_of,
    fit,
    point,
)
from supernet.scoring.confidence import ALWAYS, MEASURES, Confidences, goes_on, measured
from supernet.scoring.error_rates import count_errors
from supernet.scoring.target import Target

A = [0.1, 0.8, 0.1]
B = [0.2, 0.3, 0.5]
BLANK = [0.6, 0.2, 0.2]


def logs(*frames: list[float]) -> NDArray[np.float64]:
    return np.array([[math.log(p) for p in frame] for frame in frames])


def shannon(frame: list[float]) -> float:
    return -sum(p * math.log(p) for p in frame) / math.log(3)


def tsallis(frame: list[float]) -> float:
    return float((sum(p ** (1 / 3) for p in frame) - 1) / (3 ** (2 / 3) - 1))


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("entropy", 1 - (shannon(A) + shannon(B)) / 2),
        ("tsallis", 1 - max(tsallis(A), tsallis(B))),
        ("best-path", (0.8 * 0.6 * 0.5) ** (1 / 3)),
    ],
)
def test_confidences_are_those_computed_by_hand(measure: str, expected: float) -> None:
    assert measured(measure, logs(A, BLANK, B)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_confidences_reach_from_guessing_to_certainty(measure: str) -> None:
    certain = np.array([[-np.inf, 0.0, -np.inf], [0.0, -np.inf, -np.inf]])
    assert measured(measure, certain) == 1
    assert measured(measure, np.zeros((0, 3))) == 1
    even = measured(measure, logs([1 / 3] * 3))
    assert even == pytest.approx(1 / 3 if measure == "best-path" else 0, abs=1e-12)
    # Frames of blanks count where there are no others.
    assert even < measured(measure, logs(BLANK)) < 1


@pytest.mark.parametrize("measure", MEASURES)
def test_an_output_that_is_not_finite_goes_on_at_any_threshold(measure: str) -> None:
    assert goes_on(measured(measure, np.full((2, 3), np.nan)), 0.0)


CONFIDENCES = st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.7, 0.9]), st.booleans()), min_size=1)


@given(CONFIDENCES)
def test_the_area_is_the_share_of_pairs_in_order(rows: list[tuple[float, bool]]) -> None:
    right, wrong = ([value for value, is_right in rows if is_right is kind] for kind in (True, False))
    pairs = [(a > b) + 0.5 * (a == b) for a, b in product(right, wrong)]
    found = area_under_curve(*(np.array(column) for column in zip(*rows, strict=True)))
    assert found == (pytest.approx(sum(pairs) / len(pairs)) if pairs else None)


@given(CONFIDENCES)
def test_the_calibration_has_the_greatest_likelihood(rows: list[tuple[float, bool]]) -> None:
    """Compared with another optimizer; a slope that would fall is 0 instead."""
    x, is_right = (np.array(column) for column in zip(*rows, strict=True))
    found = platt(x, is_right)
    assert found.slope >= 0
    right, wrong = int(is_right.sum()), int((~is_right).sum())
    target = torch.tensor(np.where(is_right, (right + 1) / (right + 2), 1 / (wrong + 2)))
    at = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([at], max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-12)
    is_flat = found.slope == 0

    def loss(slope: Any, offset: Any) -> torch.Tensor:
        z = slope * torch.tensor(x) + offset
        return torch.nn.functional.binary_cross_entropy_with_logits(z, target, reduction="sum")

    def closure() -> float:
        optimizer.zero_grad()
        value = loss(0.0 if is_flat else at[0], at[1])
        value.backward()  # type: ignore[no-untyped-call]
        return float(value)

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    best = float(loss(0.0 if is_flat else at[0], at[1]))
    assert float(loss(found.slope, found.offset)) <= best + 1e-6
    if is_flat and len({*x.tolist()}) > 1:
        assert float(np.cov(x, target.numpy())[0, 1]) <= 1e-9


def outcome() -> Outcome:
    """Four utterances of two words each; the last one lasts as long as the others together."""
    references = ["a b", "c d", "e f", "g h"]
    small, large = ["a b", "c x", "x f", "g h"], ["a b", "c d", "e f", "g x"]
    values = {"entropy": np.array([0.9, 0.4, 0.2, 0.6])}
    sizes = {
        "6": SizeOutcome(small, count_errors(references, small), values),
        "12": SizeOutcome(large, count_errors(references, large), {"entropy": np.ones(4)}),
    }
    return Outcome([f"u{i}" for i in range(4)], references, np.array([1.0, 1.0, 1.0, 3.0]), sizes)


RULE = Rule("entropy", ("6", "12"), (50, 60), (5.0, 17.0))


def test_errors_and_costs_of_thresholds_are_those_counted_by_hand() -> None:
    found = [(p.num_errors, p.rate, p.macs, p.milliseconds, p.shares) for p in curve_of(outcome(), RULE)]
    assert found == [
        (2, 2 / 8, 50, 5, (1, 0)),
        (1, 1 / 8, pytest.approx(50 + 60 * 1 / 6), pytest.approx(5 + 12 * 1 / 6), (0.75, 0.25)),
        (0, 0, pytest.approx(50 + 60 * 2 / 6), pytest.approx(5 + 12 * 2 / 6), (0.5, 0.5)),
        (1, 1 / 8, pytest.approx(50 + 60 * 5 / 6), pytest.approx(5 + 12 * 5 / 6), (0.25, 0.75)),
        (1, 1 / 8, 110, 17, (0, 1)),
    ]
    texts = [text for _, _, text in cascade_rows(outcome(), RULE, 0.5)]
    assert texts == ["a b", "c d", "e f", "g h"]


@pytest.mark.parametrize(
    ("text", "share"),
    [("auto", 0.25), ("macs=60%", 0.25), ("macs=80%", 0.5), ("errors=0%", 0.5), ("errors=99%", 0)],
)
def test_a_fitted_threshold_reaches_its_target_at_the_least_cost(text: str, share: float) -> None:
    assert fit(outcome(), RULE, 100, Target.parse(text)).shares[1] == share


@pytest.mark.parametrize(("text", "least"), [("macs=49%", "macs=50.0%"), ("errors=12%", "errors=12.5%")])
def test_a_target_out_of_reach_says_what_can_be_reached(text: str, least: str) -> None:
    rows = outcome()
    rows.sizes["12"].errors_N2[:, :] = 1
    with pytest.raises(ArgumentError) as error:
        fit(rows, RULE, 100, Target.parse(text))
    assert "\n" not in str(error.value)
    if text.startswith("macs"):
        assert f"`threshold` must be at least {least}" in str(error.value)


def test_three_sizes_are_asked_one_after_the_other() -> None:
    rows = outcome()
    sizes = {"3": rows.sizes["6"], "6": rows.sizes["12"], "12": rows.sizes["12"]}
    sizes["6"].confidences["entropy"][:] = [1, 0.1, 1, 1]
    found = point(
        Outcome(rows.ids, rows.references, rows.seconds_N, sizes),
        Rule("entropy", ("3", "6", "12"), (10, 20, 40), (1.0, 2.0, 3.0)),
        0.5,
    )
    assert found.shares == (0.5, 0.25, 0.25)
    assert found.macs == pytest.approx((4 * 10 + 30 + 70) / 6)


def test_the_measure_with_the_largest_mean_area_is_chosen() -> None:
    unknown: dict[str, float | None] = dict.fromkeys(MEASURES)
    areas: dict[str, dict[str, float | None]] = {
        "6": {"entropy": 0.8, "tsallis": 0.9, "best-path": 0.7},
        "12": unknown,
    }
    assert best_measure(areas) == "tsallis"
    assert best_measure({"12": unknown}) == "entropy"


@pytest.mark.parametrize(
    "text", ["", "x", "nan", "inf", "-1", "macs=", "macs=60", "wer=2%", "errors=-2%", "auto,1"]
)
def test_other_targets_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be auto, macs=60%, errors=2% or a number of at least 0"):
        Target.parse(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["format", "measure", "sizes", "cascades", "6", "slope", "offset", "threshold"]
                ),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_damaged_files_raise_what_is_documented(data: object) -> None:
    try:
        Confidences.from_json(data)
    except (ValueError, TypeError, LookupError, AttributeError):
        return
    assert isinstance(data, dict)


def test_a_threshold_above_every_confidence_exists() -> None:
    assert goes_on(1.0, ALWAYS)
    assert not goes_on(0.0, 0.0)
