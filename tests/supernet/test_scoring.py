"""Error rates, against hand-computed values and a naive implementation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernet.scoring import bootstrap_interval, count_errors, length_group, score, score_groups

words = st.lists(st.sampled_from(["a", "b", "ab", "ba"]), max_size=7)


def distance(a: list[str], b: list[str]) -> int:
    """Edit distance by the textbook's recursion over a table."""
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    table[:, 0], table[0] = range(len(a) + 1), range(len(b) + 1)
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (x != y))
    return int(table[-1, -1])


@given(st.lists(st.tuples(words.filter(len), words), min_size=1, max_size=5))
def test_error_rates_are_edit_distances_over_reference_lengths(
    pairs: list[tuple[list[str], list[str]]],
) -> None:
    references, hypotheses = ([" ".join(x) for x in side] for side in zip(*pairs, strict=True))
    result = score(references, hypotheses)
    errors = sum(distance(r, h) for r, h in pairs)
    assert result.words == sum(len(r) for r, _ in pairs)
    assert result.utterances == len(pairs)
    assert result.wer == pytest.approx(errors / result.words)
    assert count_errors(references, hypotheses)[:, 0].sum() == errors
    chars = sum(distance(list(r), list(h)) for r, h in zip(references, hypotheses, strict=True))
    assert result.cer == pytest.approx(chars / sum(map(len, references)))


@pytest.mark.parametrize(
    ("reference", "hypothesis", "wer", "cer"),
    [
        ("a b", "a b", 0, 0),
        ("a b", "", 1, 1),
        ("a b", "a", 1 / 2, 2 / 3),
        ("a", "a b b", 2, 4),
        ("ab ba", "ba ab", 1, 4 / 5),
        ("ab", "aa", 1, 1 / 2),
    ],
)
def test_error_rates_by_hand(reference: str, hypothesis: str, wer: float, cer: float) -> None:
    result = score([reference], [hypothesis])
    assert [result.wer, result.cer] == pytest.approx([wer, cer])


def test_rates_are_over_all_words_not_over_utterances() -> None:
    assert score(["a", "b b b"], ["b", "b b b"]).wer == pytest.approx(1 / 4)


def test_no_reference_words_is_an_error() -> None:
    with pytest.raises(ValueError, match="`references` must hold at least one word"):
        score(["", " "], ["a", ""])


@pytest.mark.parametrize(("errors", "rate"), [(0, 0.0), (2, 1.0)])
def test_the_interval_of_a_constant_is_a_point(errors: int, rate: float) -> None:
    low, high = bootstrap_interval(np.full(9, errors), np.full(9, 2))
    assert (low, high) == (rate, rate)


def test_one_utterance_has_no_spread() -> None:
    assert bootstrap_interval(np.array([1]), np.array([4])) == (0.25, 0.25)


def test_the_interval_covers_the_truth_about_19_times_out_of_20() -> None:
    rng = np.random.default_rng(0)
    covered, num = 0, 200
    for i in range(num):
        errors = rng.binomial(5, 0.2, size=100)
        low, high = bootstrap_interval(errors, np.full(100, 5), seed=i, num_resamples=400)
        covered += low <= 0.2 <= high
    assert 0.88 <= covered / num <= 0.99


def test_the_interval_resamples_utterances_not_words() -> None:
    """Errors that come in whole utterances spread more than as many that are scattered over all."""
    clustered = bootstrap_interval(np.array([10] * 10 + [0] * 90), np.full(100, 10))
    scattered = bootstrap_interval(np.full(100, 1), np.full(100, 10))
    assert clustered[1] - clustered[0] > 0.08
    assert scattered[1] - scattered[0] == 0


def test_the_same_texts_give_the_same_interval() -> None:
    texts = ["a b", "b", "a a a"], ["a", "b", "a b a"]
    assert score(*texts) == score(*texts)
    assert score(*texts).wer_ci95[0] <= score(*texts).wer <= score(*texts).wer_ci95[1]


def test_groups_are_scored_as_if_they_were_alone() -> None:
    references, hypotheses = ["a b", "b", "a a a", "b b"], ["a", "b", "a b a", "a b"]
    found = score_groups(["x", "y", "x", "y"], references, hypotheses)
    assert list(found) == ["x", "y"]
    assert found["x"] == score(references[::2], hypotheses[::2])
    assert found["y"] == score(references[1::2], hypotheses[1::2])


@pytest.mark.parametrize(
    ("seconds", "name"),
    [
        (0.0, "0 to 2 s"),
        (1.99, "0 to 2 s"),
        (2.0, "2 to 5 s"),
        (29.0, "20 to 30 s"),
        (30.0, "30 s and longer"),
    ],
)
def test_lengths_have_names(seconds: float, name: str) -> None:
    assert length_group(seconds) == name
