"""Texts laid beside each other word by word (by characters, where no spaces set words apart): what was
written wrongly, as a page, and as the trn files that sclite (NIST's SCTK) reads.
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
    """A word (or character) of the reference and the one written for it; empty where there is none."""

    kind: str
    """``equal``, ``replace``, ``delete`` or ``insert``."""
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class Aligned:
    """An utterance, aligned with the fewest errors."""

    id: str
    pairs: tuple[Pair, ...]

    @property
    def errors(self) -> Counter[str]:
        """How many pairs there are of each kind but the equal ones."""
        return Counter(pair.kind for pair in self.pairs if pair.kind != "equal")

    @property
    def rate(self) -> float:
        """Errors by words (or characters) of the reference (1 where it has none)."""
        return self.errors.total() / max(1, sum(pair.kind != "insert" for pair in self.pairs))


def align(id: str, reference: str, hypothesis: str, measure: Measure = "wer") -> Aligned:
    """The words (or characters) of both texts in pairs."""
    ours, theirs = (
        text.split() if measure == "wer" else list(" ".join(text.split())) for text in (reference, hypothesis)
    )
    pairs: list[Pair] = []
    for step in Levenshtein.opcodes(ours, theirs):
        before, behind = ours[step.src_start : step.src_end], theirs[step.dest_start : step.dest_end]
        # Blocks of equal and replaced words are equally long; of the others one side is empty.
        before, behind = before or [""] * len(behind), behind or [""] * len(before)
        pairs += [Pair(step.tag, a, b) for a, b in zip(before, behind, strict=True)]
    return Aligned(id, tuple(pairs))


def worst(aligned: Sequence[Aligned], number: int = NUM_WORST) -> list[Aligned]:
    """Those with most errors, the higher rate first among equals; none without errors."""
    ranked = sorted(aligned, key=lambda a: (-a.errors.total(), -a.rate, a.id))
    return [a for a in ranked[:number] if a.errors]


def confusions(aligned: Sequence[Aligned], number: int = NUM_CONFUSIONS) -> list[tuple[Pair, int]]:
    """The errors that are made most often, with how often."""
    counts = Counter(pair for a in aligned for pair in a.pairs if pair.kind != "equal")
    return sorted(counts.items(), key=lambda item: (-item[1], item[0].reference, item[0].hypothesis))[:number]


def page(title: str, rows: TranscriptRows, score: Score, speakers: Mapping[str, str]) -> str:
    """A page of HTML that needs nothing else: the most frequent errors, the worst utterances in pairs."""
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
    """References and hypotheses as sclite's trn files: words and ``(speaker-utterance)`` in each line.

    sclite takes what stands before the first - or _ as the speaker (``-i rm``), who is therefore written
    without.
    """
    names = [f"({_speaker(speakers.get(id, ''))}-{_NO_ID.sub('_', id)})" for id, _, _ in rows]
    references, hypotheses = ([row[side] for row in rows] for side in (1, 2))
    return _lines(references, names), _lines(hypotheses, names)


def _speaker(name: str) -> str:
    return _NO_SPEAKER.sub(".", name) or UNKNOWN


def _lines(texts: Sequence[str], names: Sequence[str]) -> str:
    return "".join(f"{' '.join([*text.split(), name])}\n" for text, name in zip(texts, names, strict=True))
