"""Long recordings in overlapping chunks, and one stream of log-probabilities made of them again.

Two neighboring chunks both hear what lies in their overlap. The seam, where the second takes over from the
first, is put where they agree on the tokens before and behind, so that nothing is lost or said twice. What
lies between two seams at word boundaries is a passage; passages are decoded one by one.

Shapes: S samples or stream frames, V tokens.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from supernet.recognition.decoding import BLANK_ID, Span, spans
from supernet.text.tokens import Tokens

CHUNK_SECONDS = 20.0
OVERLAP_SECONDS = 4.0
_LONGEST_PASSAGE = 3000
"""Frames (of 40 ms: two minutes) after which a passage ends, boundary or not: nets that write no spaces must
not fill memory.
"""
_AGREED = 3
"""Tokens on each side of a seam; more agreement is not worth leaving the middle for."""
_TOLERANCE = 5
"""Frames by which two chunks may place the same token differently."""


@dataclass(frozen=True)
class Chunk:
    """A stretch of a recording; ``start`` is the stream frame it begins with."""

    samples: Tensor
    start: int
    is_last: bool
    length: int | None = None
    """Samples of the whole recording, with its last chunk, where that does not end with it."""


@dataclass(frozen=True)
class Passage:
    """Log-probabilities (S, V) from one seam at a word boundary to the next."""

    log_probs_SV: Tensor
    start: int


def chunks(blocks: Iterable[Tensor], length: int, overlap: int, frame: int) -> Iterator[Chunk]:
    """``blocks`` (S,) at 16 kHz cut anew into chunks of ``length`` stream frames of ``frame`` samples, each
    sharing ``overlap`` with the next; one chunk where all fits into it. Raises ``ValueError`` where
    nothing would advance.
    """
    if not 0 < overlap < length:
        raise ValueError(f"`overlap` must be between 0 and {length} frames, but is {overlap} instead.")
    held, start = torch.zeros(0), 0
    size, step = length * frame, (length - overlap) * frame
    for block in blocks:
        held = torch.cat([held, block])
        while len(held) > size:
            yield Chunk(held[:size], start, is_last=False)
            held, start = held[step:].clone(), start + length - overlap
    yield Chunk(held, start, is_last=True)


class Stitcher:
    """Joins the log-probabilities of a recording's chunks."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._held: list[Tensor] = []
        self._start = 0
        self._open: tuple[int, Tensor] | None = None

    def add(self, log_probs_SV: Tensor, start: int) -> Iterator[Passage]:
        """The next chunk, which begins at ``start``; yields the passage that it completes, if it does."""
        if self._open is None:
            self._open, self._start = (start, log_probs_SV), start
            return
        first, previous_SV = self._open
        overlap = first + len(previous_SV) - start
        if overlap <= 0:  # there is a pause between them
            self._held.append(previous_SV)
            yield self._release()
            self._open, self._start = (start, log_probs_SV), start
            return
        paths = previous_SV.argmax(-1).tolist(), log_probs_SV.argmax(-1).tolist()
        seam, is_boundary = find_seam(*paths, overlap, self._tokens)
        self._held.append(previous_SV[: start - first + seam])
        self._open = start + seam, log_probs_SV[seam:]
        if is_boundary or sum(map(len, self._held)) > _LONGEST_PASSAGE:
            yield self._release()

    def finish(self) -> Passage:
        """What remains."""
        assert self._open is not None
        self._held.append(self._open[1])
        return self._release()

    def _release(self) -> Passage:
        passage = Passage(torch.cat(self._held), self._start)
        self._held, self._start = [], self._start + len(passage.log_probs_SV)
        return passage


def find_seam(before: Sequence[int], behind: Sequence[int], overlap: int, tokens: Tokens) -> tuple[int, bool]:
    """From which frame of the path ``behind`` on it is followed, and whether two words part there.

    The last ``overlap`` frames of ``before`` are the first of ``behind``. Among the frames that break no
    token, those count with most agreement around them, among these the ends of words, among these the one
    with most context on both sides.
    """
    pair = _Pair(before, behind, len(before) - overlap)
    whole = [frame for frame in range(overlap + 1) if pair.is_whole(frame)]
    if not whole:
        return overlap // 2, False
    ranked = ((pair.agreement(f), pair.is_boundary(f, tokens), -abs(f - overlap / 2), f) for f in whole)
    _, is_boundary, _, frame = max(ranked)
    return frame, is_boundary


class _Pair:
    """Two paths, the first of which has ``offset`` frames before the second begins."""

    def __init__(self, before: Sequence[int], behind: Sequence[int], offset: int) -> None:
        self._before, self._behind, self._offset = before, behind, offset
        self._all_before, self._all_behind = spans(before), spans(behind)
        self._first, self._second = spans(before[offset:]), spans(behind[: len(before) - offset])

    def is_whole(self, frame: int) -> bool:
        """Whether the joined path begins a token at ``frame`` where, and only where, the second path does."""
        if self._token(frame) == BLANK_ID:
            return True
        begins = frame == 0 or self._token(frame) != self._behind[frame - 1]
        return begins != self._goes_on(frame)

    def is_boundary(self, frame: int, tokens: Tokens) -> bool:
        """Whether a word ends at ``frame``, as far as either path tells."""
        if self._goes_on(frame):
            return False
        last = self._all_before[: _num_before(self._all_before, self._offset + frame)][-1:]
        following = self._all_behind[_num_before(self._all_behind, frame) :][:1]
        inside = all(beside and not tokens.is_space(beside[0].token) for beside in (last, following))
        return not inside or tokens.starts_word(following[0].token)

    def agreement(self, frame: int) -> int:
        """Tokens on which both agree on the worse side of ``frame``, at most ``_AGREED``."""
        i, j = _num_before(self._first, frame), _num_before(self._second, frame)
        left = _agreeing(self._first[:i][::-1], self._second[:j][::-1])
        return min(left, _agreeing(self._first[i:], self._second[j:]))

    def _token(self, frame: int) -> int:
        return self._behind[frame] if frame < len(self._behind) else BLANK_ID

    def _goes_on(self, frame: int) -> bool:
        """Whether the joined path is within one token here."""
        at, token = self._offset + frame, self._token(frame)
        return at > 0 and token != BLANK_ID and token == self._before[at - 1]


def _num_before(found: list[Span], frame: int) -> int:
    return bisect_left(found, frame, key=lambda span: span.start)


def _agreeing(first: list[Span], second: list[Span]) -> int:
    """How many tokens agree from the beginning on; all that are asked for where both say no more."""
    for count in range(_AGREED):
        if count >= len(first) or count >= len(second):
            return _AGREED if len(first) == len(second) else count
        a, b = first[count], second[count]
        if a.token != b.token or abs(a.start - b.start) > _TOLERANCE:
            return count
    return _AGREED
