"""The statistics of a comparison equal single tests corrected by hand."""

from __future__ import annotations

import numpy as np
import pytest

from selection.comparing.comparison import Difference, against, all_pairs
from supernet.scoring.statistics import Ints, holm, permutation_p


def three(seed: int = 0) -> tuple[Ints, Ints, Ints]:
    """Errors of three systems, each slightly worse than the previous one."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 3, size=100)
    b = a + (rng.random(100) < 0.08)
    return a, b, b + (rng.random(100) < 0.08)


def test_equal_results_count_as_one_comparison() -> None:
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


def test_only_comparisons_with_the_best_are_corrected_together() -> None:
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
def test_the_verdict_depends_on_difference_and_p_value(
    wer: float, p: float, same: bool, verdict: str
) -> None:
    assert Difference(wer, (wer, wer), p, same).verdict == verdict
