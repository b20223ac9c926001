"""Error rates and their intervals.

Shapes: N utterances; an axis of 2 is words and characters.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from supernet.spelling import normal
from supernet.statistics import interval

_EDGES = (2, 5, 10, 15, 20, 30)
"""Seconds at which one length of utterances ends and the next begins."""

UNKNOWN = "unknown"
"""The speaker of whom nothing is known."""

Rows = list[tuple[str, str, str]]
"""Utterance, reference, hypothesis."""


def count_errors(references: Sequence[str], hypotheses: Sequence[str]) -> NDArray[np.int64]:
    """Word errors and character errors of each utterance, (N, 2): substitutions, insertions, deletions.

    A space between words is a character; those at the edges, and all but the first of several, are none.
    """
    pairs = [(normal(r).split(), normal(h).split()) for r, h in zip(references, hypotheses, strict=True)]
    errors = [(Levenshtein.distance(r, h), Levenshtein.distance(" ".join(r), " ".join(h))) for r, h in pairs]
    return np.array(errors, dtype=np.int64).reshape(-1, 2)


def count_words(references: Sequence[str]) -> NDArray[np.int64]:
    """Words and characters of each utterance, (N, 2)."""
    words = [normal(r).split() for r in references]
    counts = [(len(w), len(" ".join(w))) for w in words]
    return np.array(counts, dtype=np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class Score:
    """Error rates of one subnet on one split, as fractions, with 95 % bootstrap intervals over utterances."""

    wer: float
    wer_ci95: tuple[float, float]
    cer: float
    cer_ci95: tuple[float, float]
    words: int
    utterances: int

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def score(references: Sequence[str], hypotheses: Sequence[str], seed: int = 0) -> Score:
    """Compare texts. Raises :class:`ValueError` where there is no reference word to compare with."""
    return score_counts(count_errors(references, hypotheses), count_words(references), seed)


def score_counts(errors_N2: NDArray[np.int64], words_N2: NDArray[np.int64], seed: int = 0) -> Score:
    """The same from what :func:`count_errors` and :func:`count_words` give."""
    (word_errors, char_errors), (words, chars) = errors_N2.T, words_N2.T
    if words.sum() == 0:
        raise ValueError("`references` must hold at least one word, but are empty instead.")
    return Score(
        wer=float(word_errors.sum() / words.sum()),
        wer_ci95=interval(word_errors, words, seed),
        cer=float(char_errors.sum() / chars.sum()),
        cer_ci95=interval(char_errors, chars, seed),
        words=int(words.sum()),
        utterances=len(words_N2),
    )


def score_groups(
    groups: Sequence[str], references: Sequence[str], hypotheses: Sequence[str]
) -> dict[str, Score]:
    """The same for each group of utterances, in the order in which the groups first occur."""
    errors_N2, words_N2 = count_errors(references, hypotheses), count_words(references)
    member_of = np.array(groups)
    return {
        group: score_counts(errors_N2[member_of == group], words_N2[member_of == group])
        for group in dict.fromkeys(groups)
    }


def length_group(seconds: float) -> str:
    """Which of a few lengths an utterance has, in words."""
    place = bisect_right(_EDGES, seconds)
    if place == len(_EDGES):
        return f"{_EDGES[-1]} s and longer"
    return f"{_EDGES[place - 1] if place else 0} to {_EDGES[place]} s"
