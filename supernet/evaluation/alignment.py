"""Alignments of references and hypotheses by words, or by characters in scripts without word boundaries.

They are rendered as a page of errors, and as the trn files that sclite (of NIST's SCTK) reads.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from supernet.reporting.pages import page_environment
from supernet.scoring.error_rates import UNKNOWN, Measure, Score, TranscriptRows

NUM_WORST = 50
NUM_CONFUSIONS = 20
_NO_ID, _NO_SPEAKER = re.compile(r"[()\s]+"), re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Pair:
    """An aligned pair of words (or characters); one side is empty for an insertion or a deletion."""

    kind: str
    """``equal``, ``replace``, ``delete`` or ``insert``."""
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class Aligned:
    """The alignment of an utterance with the fewest errors."""

    id: str
    pairs: tuple[Pair, ...]

    @property
    def errors(self) -> Counter[str]:
        """The number of errors of each kind."""
        return Counter(pair.kind for pair in self.pairs if pair.kind != "equal")

    @property
    def rate(self) -> float:
        """Errors per word (or character) of the reference, taken as one word if it is empty."""
        return self.errors.total() / max(1, sum(pair.kind != "insert" for pair in self.pairs))


def align(id: str, reference: str, hypothesis: str, measure: Measure = "wer") -> Aligned:
    """Align two texts by words (or characters)."""
    ours, theirs = (
        text.split() if measure == "wer" else list(" ".join(text.split())) for text in (reference, hypothesis)
    )
    pairs: list[Pair] = []
    for step in Levenshtein.opcodes(ours, theirs):
        before, after = ours[step.src_start : step.src_end], theirs[step.dest_start : step.dest_end]
        # Equal and replaced blocks have the same length on both sides; of the others, one side is empty.
        before, after = before or [""] * len(after), after or [""] * len(before)
        pairs += [Pair(step.tag, a, b) for a, b in zip(before, after, strict=True)]
    return Aligned(id, tuple(pairs))


def worst(aligned: Sequence[Aligned], number: int = NUM_WORST) -> list[Aligned]:
    """The utterances with the most errors, ties broken by rate; only those with errors."""
    ranked = sorted(aligned, key=lambda a: (-a.errors.total(), -a.rate, a.id))
    return [a for a in ranked[:number] if a.errors]


def confusions(aligned: Sequence[Aligned], number: int = NUM_CONFUSIONS) -> list[tuple[Pair, int]]:
    """The most frequent errors and their counts."""
    counts = Counter(pair for a in aligned for pair in a.pairs if pair.kind != "equal")
    return sorted(counts.items(), key=lambda item: (-item[1], item[0].reference, item[0].hypothesis))[:number]


def page(title: str, rows: TranscriptRows, score: Score, speakers: Mapping[str, str]) -> str:
    """A self-contained HTML page of the most frequent errors and the worst utterances."""
    environment = page_environment("supernet")
    aligned = [align(*row, score.measure) for row in rows]
    return environment.get_template("evaluation/alignment.html.jinja").render(
        title=title,
        score=score,
        errors=sum((a.errors for a in aligned), Counter[str]()),
        num_characters=sum(len(" ".join(reference.split())) for _, reference, _ in rows),
        num_wrong=sum(bool(a.errors) for a in aligned),
        worst=worst(aligned),
        confusions=confusions(aligned),
        speakers=speakers,
    )


def trn(rows: TranscriptRows, speakers: Mapping[str, str]) -> tuple[str, str]:
    """References and hypotheses as sclite's trn files, with the words and ``(speaker-utterance)`` in each
    line.

    sclite (``-i rm``) takes the text before the first - or _ as the speaker, so speakers are written without
    these characters.
    """
    names = [f"({_speaker(speakers.get(id, ''))}-{_NO_ID.sub('_', id)})" for id, _, _ in rows]
    references, hypotheses = ([row[side] for row in rows] for side in (1, 2))
    return _lines(references, names), _lines(hypotheses, names)


def _speaker(name: str) -> str:
    return _NO_SPEAKER.sub(".", name) or UNKNOWN


def _lines(texts: Sequence[str], names: Sequence[str]) -> str:
    return "".join(f"{' '.join([*text.split(), name])}\n" for text, name in zip(texts, names, strict=True))
