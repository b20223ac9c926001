"""Error rates and their intervals.

Shapes: N utterances; an axis of 2 is words and characters.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from supernet.scoring.statistics import interval
from supernet.text.spelling import normal

_EDGES = (2, 5, 10, 15, 20, 30)
"""Seconds at which one length of utterances ends and the next begins."""

Measure = Literal["wer", "cer"]
"""What texts are judged by: word errors, or character errors where words are not set apart."""
COLUMN: dict[Measure, int] = {"wer": 0, "cer": 1}
"""Where its counts stand in the axis of 2."""
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
"""Thai, Lao, Tibetan, Burmese, Khmer, kana and Han: scripts that put no space between words."""
_LONGEST_WORD = 20
"""Characters: words of no language are as long as this on average."""

UNKNOWN = "unknown"
"""The speaker of whom nothing is known."""

TranscriptRows = list[tuple[str, str, str]]
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


def measure_of(texts: Iterable[str]) -> Measure:
    """What ``texts`` are judged by, all of them alike: characters where those of scripts without spaces are
    more than the words of others, or where hardly any space is found; words else.
    """
    words = [word for text in texts for word in text.split()]
    unspaced = [len(_UNSPACED.findall(word)) for word in words]
    is_long = sum(map(len, words)) > _LONGEST_WORD * len(words)
    return "cer" if sum(unspaced) > unspaced.count(0) or is_long else "wer"


def judged_by(results: Mapping[str, Any]) -> Measure:
    """The same of saved results, by size and split; those of earlier versions were judged by words."""
    scores = (score for row in results["sizes"].values() for score in row.values())
    return next((s["measure"] for s in scores if isinstance(s, Mapping) and "measure" in s), "wer")


@dataclass(frozen=True)
class Score:
    """Error rates of one subnet on one split, as fractions, with 95 % bootstrap intervals over utterances."""

    wer: float
    wer_ci95: tuple[float, float]
    cer: float
    cer_ci95: tuple[float, float]
    words: int
    utterances: int
    measure: Measure = "wer"

    @property
    def rate(self) -> float:
        """The error rate that the texts are judged by."""
        return self.wer if self.measure == "wer" else self.cer

    @property
    def rate_ci95(self) -> tuple[float, float]:
        return self.wer_ci95 if self.measure == "wer" else self.cer_ci95

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def score(references: Sequence[str], hypotheses: Sequence[str], seed: int = 0) -> Score:
    """Compare texts. Raises ``ValueError`` where there is no reference word to compare with."""
    counts = count_errors(references, hypotheses), count_words(references)
    return score_counts(*counts, measure_of(references), seed)


def score_counts(
    errors_N2: NDArray[np.int64], words_N2: NDArray[np.int64], measure: Measure, seed: int = 0
) -> Score:
    """The same from what ``count_errors``, ``count_words`` and ``measure_of`` give."""
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
        measure=measure,
    )


def score_groups(
    groups: Sequence[str], references: Sequence[str], hypotheses: Sequence[str]
) -> dict[str, Score]:
    """The same for each group of utterances, in the order in which the groups first occur."""
    errors_N2, words_N2 = count_errors(references, hypotheses), count_words(references)
    member_of, measure = np.array(groups), measure_of(references)
    return {
        group: score_counts(errors_N2[member_of == group], words_N2[member_of == group], measure)
        for group in dict.fromkeys(groups)
    }


def length_group(seconds: float) -> str:
    """Which of a few lengths an utterance has, in words."""
    place = bisect_right(_EDGES, seconds)
    if place == len(_EDGES):
        return f"{_EDGES[-1]} s and longer"
    return f"{_EDGES[place - 1] if place else 0} to {_EDGES[place]} s"
