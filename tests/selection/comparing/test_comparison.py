"""The statistics of a comparison, checked against hand counts and slower algorithms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selection.comparing.comparison import Difference, against, all_pairs, holm, paired_difference
from supernet.scoring.statistics import Ints, permutation_p


def ints(*values: int) -> Ints:
    return np.array(values, dtype=np.int64)


def exact_p(change: Ints) -> float:
    """The exact p value, by enumeration of all exchanges of the two systems' results."""
    sums = [abs(int(np.dot(signs, change))) for signs in itertools.product((-1, 1), repeat=len(change))]
    return sum(s >= abs(int(change.sum())) for s in sums) / len(sums)


@pytest.mark.parametrize(
    "change", [(1, 1, 1, 1, 1), (2, -1, 1, 0, 3, 1), (1, -1), (0, 0, 5), (3, 1, -2, 2, 1, 1, 1, -1, 2)]
)
def test_the_permutation_test_agrees_with_counting_all_exchanges(change: tuple[int, ...]) -> None:
    first, second = np.abs(ints(*change)) + ints(*change), np.abs(ints(*change))
    assert permutation_p(first, second) == pytest.approx(exact_p(ints(*change)), abs=0.02)


def test_equal_results_differ_by_chance_alone() -> None:
    assert permutation_p(ints(1, 0, 2), ints(1, 0, 2)) == 1.0


def test_a_clear_difference_is_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 3, size=200)
    assert permutation_p(base + rng.integers(0, 2, size=200), base) < 0.001
    assert permutation_p(rng.permutation(base), base) > 0.05


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30))
def test_the_test_is_symmetric_and_a_probability(pairs: list[tuple[int, int]]) -> None:
    first, second = (ints(*side) for side in zip(*pairs, strict=True))
    p = permutation_p(first, second)
    assert 0 < p <= 1
    assert permutation_p(second, first) == p


def test_the_difference_is_of_error_rates() -> None:
    wer, low, high = paired_difference(ints(2, 1, 0, 3), ints(1, 1, 1, 1), ints(10, 10, 10, 10))
    assert wer == pytest.approx(2 / 40)
    assert low < wer < high


def test_pairs_make_the_interval_narrow() -> None:
    """Both systems make errors in the same utterances: unpaired intervals would be ten times as wide."""
    rng = np.random.default_rng(1)
    hard = rng.poisson(3, size=300)
    better = hard + (rng.random(300) < 0.05)
    wer, low, high = paired_difference(better, hard, np.full(300, 10))
    assert 0 < low < wer < high < 0.01


@pytest.mark.parametrize(
    ("raw", "corrected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5], [0.5]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([], []),
        ([0.005, 0.011, 0.02, 0.04, 0.13], [0.025, 0.044, 0.06, 0.08, 0.13]),
    ],
)
def test_holm_by_hand(raw: list[float], corrected: list[float]) -> None:
    assert holm(raw) == pytest.approx(corrected)


def three(seed: int = 0) -> tuple[Ints, Ints, Ints]:
    """Errors of three systems, each slightly worse than the previous one."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 3, size=100)
    b = a + (rng.random(100) < 0.08)
    return a, b, b + (rng.random(100) < 0.08)


def test_equal_results_are_one_comparison() -> None:
    a, b, _ = three()
    table = all_pairs({"a": a, "same": a.copy(), "b": b})
    assert table["a"]["same"] == table["same"]["a"] == table["a"]["a"] == 1.0
    for one in ("a", "same"):
        assert table[one]["b"] == table["b"][one] == permutation_p(a, b)


def test_all_pairs_are_corrected_together() -> None:
    a, b, c = three()
    table = all_pairs({"a": a, "b": b, "c": c})
    raw = [permutation_p(a, b), permutation_p(a, c), permutation_p(b, c)]
    assert [table["a"]["b"], table["a"]["c"], table["b"]["c"]] == holm(raw)


def test_against_the_best_fewer_comparisons_are_corrected() -> None:
    a, b, c = three()
    found = against("a", {"a": a, "copy": a.copy(), "b": b, "c": c})
    assert found["a"] == found["copy"] == 1.0
    assert [found["b"], found["c"]] == holm([permutation_p(b, a), permutation_p(c, a)])


@pytest.mark.parametrize(
    ("wer", "p", "same", "verdict"),
    [
        (0.0, 1.0, True, "same"),
        (0.01, 0.2, False, "tie"),
        (0.01, 0.01, False, "worse"),
        (-0.01, 0.01, False, "better"),
    ],
)
def test_verdicts(wer: float, p: float, same: bool, verdict: str) -> None:
    assert Difference(wer, (wer, wer), p, same).verdict == verdict
