"""The transcript of a recording: words and tokens with their times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from supernet.recognition.decoding import Span, spans, words
from supernet.text.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Timed:
    """A word or token, in seconds from the recording's beginning.

    Times are the frames (40 ms; 20 ms where a network reads samples) in which the network writes the tokens.
    CTC writes a token somewhere within its sound, so a word's start is usually late, its end early, by a few
    frames.
    """

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Transcript:
    """What a recording says: its words, parted by single spaces in ``text``, and its tokens."""

    text: str
    words: tuple[Timed, ...]
    tokens: tuple[Timed, ...]
    seconds: float
    """The recording's length."""


def passage(path: Sequence[int], start: int, tokens: Tokens, frame: float) -> tuple[list[Timed], list[Timed]]:
    """Words and tokens of a passage's path that begins with the stream frame ``start``; one takes ``frame``
    seconds.
    """
    found = spans(path)
    timed = [_timed([span], start, tokens, frame) for span in found]
    return [_timed(word, start, tokens, frame) for word in words(found, tokens)], timed


def transcript(found: Sequence[tuple[list[Timed], list[Timed]]], seconds: float) -> Transcript:
    """Of the passages of a recording, in their order."""
    heard = tuple(word for words_, _ in found for word in words_)
    tokens = tuple(token for _, tokens_ in found for token in tokens_)
    return Transcript(" ".join(word.text for word in heard), heard, tokens, seconds)


def _timed(part: Sequence[Span], start: int, tokens: Tokens, frame: float) -> Timed:
    ends = ((start + end) * frame for end in (part[0].start, part[-1].stop))
    return Timed(tokens.decode([span.token for span in part]), *(round(end, 3) for end in ends))
