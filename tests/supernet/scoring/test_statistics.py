"""Intervals and tests equal hand-computed values and slower algorithms, for blocks of any size."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernet.scoring import statistics
from supernet.scoring.statistics import (
    Floats,
    Ints,
    holm,
    interval,
    paired_difference,
    permutation_p,
    resampled_rates,
)

counts = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=12)


def columns(rows: list[tuple[int, int, int]]) -> tuple[Ints, Ints, Ints]:
    first, second, words = np.array(rows, np.int64).T
    return first, second, words


def at_once(errors_N: Ints, words_N: Ints, num: int) -> Floats:
    """The rates of all resamples, from a single array."""
    picks = np.random.default_rng(0).integers(0, len(errors_N), (num, len(errors_N)))
    return np.asarray(errors_N[picks].sum(axis=1) / words_N[picks].sum(axis=1))


def test_permutations_in_blocks_equal_those_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.binomial(5, 0.25, 300), rng.binomial(5, 0.2, 300)
    change = (first - second)[first != second]
    signs = np.random.default_rng(0).choice(np.array([-1, 1]), (500, len(change)))
    as_large = int((np.abs(signs @ change) >= abs(change.sum())).sum())
    for block in (1 << 18, 1000, 77):
        monkeypatch.setattr(statistics, "BLOCK", block)
        assert permutation_p(first, second, num=500) == (1 + as_large) / 501


@given(counts, st.integers(1, 50), st.integers(1, 20))
def test_the_size_of_blocks_does_not_change_resamples(
    rows: list[tuple[int, int, int]], block: int, num: int
) -> None:
    errors, _, words = columns(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "BLOCK", block)
        np.testing.assert_array_equal(resampled_rates(errors, words, num=num), at_once(errors, words, num))


def peak_mb(work: Callable[[], object]) -> float:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("num_utterances", [20_000, 200_000])
def test_memory_does_not_grow_with_the_number_of_utterances(num_utterances: int) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.binomial(5, 0.25, num_utterances), rng.binomial(5, 0.2, num_utterances)
    words = rng.integers(5, 20, num_utterances)
    # Drawn at once, 100 resamples of 200,000 utterances would be 20 million numbers, or 160 MB.
    assert peak_mb(lambda: resampled_rates(first, words, num=100)) < 15
    assert peak_mb(lambda: permutation_p(first, second, num=100)) < 15


@pytest.mark.parametrize(("errors", "rate"), [(0, 0.0), (2, 1.0)])
def test_the_interval_of_a_constant_is_a_point(errors: int, rate: float) -> None:
    low, high = interval(np.full(9, errors), np.full(9, 2))
    assert (low, high) == (rate, rate)


def test_the_interval_of_one_utterance_is_a_point() -> None:
    assert interval(np.array([1]), np.array([4])) == (0.25, 0.25)


def test_the_interval_covers_the_true_rate_in_about_95_percent_of_cases() -> None:
    rng = np.random.default_rng(0)
    covered, num = 0, 200
    for i in range(num):
        errors = rng.binomial(5, 0.2, size=100)
        low, high = interval(errors, np.full(100, 5), seed=i, num=400)
        covered += low <= 0.2 <= high
    assert 0.88 <= covered / num <= 0.99


def test_the_interval_resamples_utterances_instead_of_words() -> None:
    """Errors concentrated in a few utterances have a wider interval than evenly distributed ones."""
    clustered = interval(np.array([10] * 10 + [0] * 90), np.full(100, 10))
    scattered = interval(np.full(100, 1), np.full(100, 10))
    assert clustered[1] - clustered[0] > 0.08
    assert scattered[1] - scattered[0] == 0


def ints(*values: int) -> Ints:
    return np.array(values, dtype=np.int64)


def exact_p(change: Ints) -> float:
    """The exact p-value, from all exchanges of the two systems' results."""
    sums = [abs(int(np.dot(signs, change))) for signs in itertools.product((-1, 1), repeat=len(change))]
    return sum(s >= abs(int(change.sum())) for s in sums) / len(sums)


@pytest.mark.parametrize(
    "change", [(1, 1, 1, 1, 1), (2, -1, 1, 0, 3, 1), (1, -1), (0, 0, 5), (3, 1, -2, 2, 1, 1, 1, -1, 2)]
)
def test_the_permutation_test_approximates_the_exact_p_value(change: tuple[int, ...]) -> None:
    first, second = np.abs(ints(*change)) + ints(*change), np.abs(ints(*change))
    assert permutation_p(first, second) == pytest.approx(exact_p(ints(*change)), abs=0.02)


def test_equal_results_have_a_p_value_of_one() -> None:
    assert permutation_p(ints(1, 0, 2), ints(1, 0, 2)) == 1.0


def test_a_clear_difference_is_significant_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 3, size=200)
    assert permutation_p(base + rng.integers(0, 2, size=200), base) < 0.001
    assert permutation_p(rng.permutation(base), base) > 0.05


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30))
def test_the_p_value_is_a_probability_and_symmetric(pairs: list[tuple[int, int]]) -> None:
    first, second = (ints(*side) for side in zip(*pairs, strict=True))
    p = permutation_p(first, second)
    assert 0 < p <= 1
    assert permutation_p(second, first) == p


def test_the_paired_difference_is_one_of_error_rates() -> None:
    wer, low, high = paired_difference(ints(2, 1, 0, 3), ints(1, 1, 1, 1), ints(10, 10, 10, 10))
    assert wer == pytest.approx(2 / 40)
    assert low < wer < high


def test_pairing_narrows_the_interval() -> None:
    """Both systems make errors in the same utterances; unpaired intervals would be ten times as wide."""
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
def test_holms_correction_equals_hand_computed_values(raw: list[float], corrected: list[float]) -> None:
    assert holm(raw) == pytest.approx(corrected)
