"""The transcript of a recording: words and tokens with their times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from supernet.recognition.decoding import Span, spans, words
from supernet.text.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Timed:
    """A word or token with its start and end, in seconds from the beginning of the recording.

    Times are those of the frames (40 ms, or 20 ms if the network reads samples) at which the network emits
    the tokens. CTC emits a token somewhere within its sound, so a word's start is usually a few frames late,
    and its end a few frames early.
    """

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Transcript:
    """The transcript of a recording: its words, joined by single spaces in ``text``, and its tokens."""

    text: str
    words: tuple[Timed, ...]
    tokens: tuple[Timed, ...]
    seconds: float
    """Duration of the recording."""
    confidence: float | None = None
    """The probability that the text has no error: of its least certain part, if it was split. None: silent,
    or not calibrated.
    """
    size: int | None = None
    """The number of units of the size that recognized it: the largest, if it was split. None: silent."""


def passage(path: Sequence[int], start: int, tokens: Tokens, frame: float) -> tuple[list[Timed], list[Timed]]:
    """The words and tokens of a passage.

    Args:
        path: The token id of each frame.
        start: The first stream frame of the passage in the recording.
        tokens: The output tokens of the model.
        frame: The duration of a stream frame in seconds.
    """
    found = spans(path)
    timed = [_timed([span], start, tokens, frame) for span in found]
    return [_timed(word, start, tokens, frame) for word in words(found, tokens)], timed


def transcript(found: Sequence[tuple[list[Timed], list[Timed]]], seconds: float) -> Transcript:
    """The transcript of a recording from those of its passages, in order."""
    all_words = tuple(word for words_, _ in found for word in words_)
    tokens = tuple(token for _, tokens_ in found for token in tokens_)
    return Transcript(" ".join(word.text for word in all_words), all_words, tokens, seconds)


def _timed(part: Sequence[Span], start: int, tokens: Tokens, frame: float) -> Timed:
    ends = ((start + end) * frame for end in (part[0].start, part[-1].stop))
    return Timed(tokens.decode([span.token for span in part]), *(round(end, 3) for end in ends))
