"""Word and character error rates with confidence intervals.

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
"""Boundaries, in seconds, between groups of utterances by duration."""

Measure = Literal["wer", "cer"]
"""The error rate that texts are judged by: of words, or of characters in scripts without word boundaries."""
COLUMN: dict[Measure, int] = {"wer": 0, "cer": 1}
"""Index of its counts in the axis of 2."""
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
"""Scripts without spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, kana and Han."""
_LONGEST_WORD = 20
"""Characters per word, more than the average of any language."""

UNKNOWN = "unknown"
"""The name of unknown speakers."""

TranscriptRows = list[tuple[str, str, str]]
"""Rows of utterance id, reference and hypothesis."""


def count_errors(references: Sequence[str], hypotheses: Sequence[str]) -> NDArray[np.int64]:
    """The word and character errors of each utterance, (N, 2): substitutions, insertions and deletions.

    Runs of white space count as one space, and leading and trailing white space is ignored.
    """
    pairs = [(normal(r).split(), normal(h).split()) for r, h in zip(references, hypotheses, strict=True)]
    errors = [(Levenshtein.distance(r, h), Levenshtein.distance(" ".join(r), " ".join(h))) for r, h in pairs]
    return np.array(errors, dtype=np.int64).reshape(-1, 2)


def count_words(references: Sequence[str]) -> NDArray[np.int64]:
    """The number of words and characters of each utterance, (N, 2)."""
    words = [normal(r).split() for r in references]
    counts = [(len(w), len(" ".join(w))) for w in words]
    return np.array(counts, dtype=np.int64).reshape(-1, 2)


def measure_of(texts: Iterable[str]) -> Measure:
    """The measure for a set of texts.

    It is CER if characters of scripts without spaces outnumber the words of other scripts, or if there are
    hardly any spaces, and WER otherwise.
    """
    words = [word for text in texts for word in text.split()]
    unspaced = [len(_UNSPACED.findall(word)) for word in words]
    is_long = sum(map(len, words)) > _LONGEST_WORD * len(words)
    return "cer" if sum(unspaced) > unspaced.count(0) or is_long else "wer"


def judged_by(results: Mapping[str, Any]) -> Measure:
    """The measure of saved results; WER if they do not record it."""
    scores = (score for row in results["sizes"].values() for score in row.values())
    return next((s["measure"] for s in scores if isinstance(s, Mapping) and "measure" in s), "wer")


@dataclass(frozen=True)
class Score:
    """Error rates of a subnet on a split, as fractions, with 95 % bootstrap intervals over utterances."""

    wer: float
    wer_ci95: tuple[float, float]
    cer: float
    cer_ci95: tuple[float, float]
    words: int
    utterances: int
    measure: Measure = "wer"

    @property
    def rate(self) -> float:
        """The error rate that ``measure`` names."""
        return self.wer if self.measure == "wer" else self.cer

    @property
    def rate_ci95(self) -> tuple[float, float]:
        """The confidence interval of ``rate``."""
        return self.wer_ci95 if self.measure == "wer" else self.cer_ci95

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def score(references: Sequence[str], hypotheses: Sequence[str], seed: int = 0) -> Score:
    """Score hypotheses against references. Raises ``ValueError`` if the references contain no word."""
    counts = count_errors(references, hypotheses), count_words(references)
    return score_counts(*counts, measure_of(references), seed)


def score_counts(
    errors_N2: NDArray[np.int64], words_N2: NDArray[np.int64], measure: Measure, seed: int = 0
) -> Score:
    """As ``score``, from the outputs of ``count_errors``, ``count_words`` and ``measure_of``."""
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
    """As ``score``, for each group of utterances, in order of first occurrence."""
    errors_N2, words_N2 = count_errors(references, hypotheses), count_words(references)
    member_of, measure = np.array(groups), measure_of(references)
    return {
        group: score_counts(errors_N2[member_of == group], words_N2[member_of == group], measure)
        for group in dict.fromkeys(groups)
    }


def length_group(seconds: float) -> str:
    """The name of the duration group of an utterance."""
    place = bisect_right(_EDGES, seconds)
    if place == len(_EDGES):
        return f"{_EDGES[-1]} s and longer"
    return f"{_EDGES[place - 1] if place else 0} to {_EDGES[place]} s"
