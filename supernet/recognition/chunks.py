"""Split long recordings into overlapping chunks, and stitch the log-probabilities of chunks together.

Two neighboring chunks share their overlap. The seam, where the second takes over from the first, is placed
where both agree on the tokens before and after it, so that nothing is lost or repeated. The frames between
two seams at word boundaries are a passage; passages are decoded one by one.

Shapes: S samples or stream frames, V tokens.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from supernet.recognition.decoding import Span, spans
from supernet.text.tokens import BLANK_ID, Tokens

CHUNK_SECONDS = 20.0
OVERLAP_SECONDS = 4.0
_LONGEST_PASSAGE = 3000
"""Frames (of 40 ms: two minutes) after which a passage ends even within a word, to bound memory for networks
that output no spaces.
"""
_AGREED = 3
"""Tokens on each side of a seam that must agree; beyond these, the middle of the overlap is preferred."""
_TOLERANCE = 5
"""Frames by which the position of a token may differ between two chunks."""


@dataclass(frozen=True)
class Chunk:
    """A section of a recording; ``start`` is its first stream frame."""

    samples: Tensor
    start: int
    is_last: bool
    length: int | None = None
    """With the last chunk: samples of the whole recording, if it does not end with the chunk."""


@dataclass(frozen=True)
class Passage:
    """Log-probabilities (S, V) between two seams at word boundaries; ``start`` is the first stream frame."""

    log_probs_SV: Tensor
    start: int


def chunks(blocks: Iterable[Tensor], length: int, overlap: int, frame: int) -> Iterator[Chunk]:
    """Split a recording into overlapping chunks; a short recording is a single chunk.

    Args:
        blocks: Samples (S,) at 16 kHz.
        length: Stream frames of a chunk.
        overlap: Stream frames that a chunk shares with the next.
        frame: Samples of a stream frame.

    Raises:
        ValueError: ``overlap`` is not between 0 and ``length``.
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
        """Add the chunk whose first stream frame is ``start``; yields the passage it completes, if any."""
        if self._open is None:
            self._open, self._start = (start, log_probs_SV), start
            return
        first, previous_SV = self._open
        overlap = first + len(previous_SV) - start
        if overlap <= 0:  # a pause was cut out between them
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
        """The last passage."""
        assert self._open is not None
        self._held.append(self._open[1])
        return self._release()

    def _release(self) -> Passage:
        passage = Passage(torch.cat(self._held), self._start)
        self._held, self._start = [], self._start + len(passage.log_probs_SV)
        return passage


def find_seam(before: Sequence[int], after: Sequence[int], overlap: int, tokens: Tokens) -> tuple[int, bool]:
    """Find the seam of two paths whose overlap is the end of ``before`` and the beginning of ``after``.

    Only frames that split no token are candidates. Preferred are, in this order: more tokens around the seam
    on which both paths agree, word boundaries, and the middle of the overlap, which has most context on both
    sides.

    Returns:
        The first frame taken from ``after``, and whether it is a word boundary.
    """
    pair = _Pair(before, after, len(before) - overlap)
    whole = [frame for frame in range(overlap + 1) if pair.is_whole(frame)]
    if not whole:
        return overlap // 2, False
    ranked = ((pair.agreement(f), pair.is_boundary(f, tokens), -abs(f - overlap / 2), f) for f in whole)
    _, is_boundary, _, frame = max(ranked)
    return frame, is_boundary


class _Pair:
    """Two overlapping paths; the second begins ``offset`` frames after the first."""

    def __init__(self, before: Sequence[int], after: Sequence[int], offset: int) -> None:
        self._before, self._after, self._offset = before, after, offset
        self._spans_before, self._spans_after = spans(before), spans(after)
        self._overlap_before = spans(before[offset:])
        self._overlap_after = spans(after[: len(before) - offset])

    def is_whole(self, frame: int) -> bool:
        """Whether the joined path starts a token at ``frame`` if and only if the second path does."""
        if self._token(frame) == BLANK_ID:
            return True
        begins = frame == 0 or self._token(frame) != self._after[frame - 1]
        return begins != self._goes_on(frame)

    def is_boundary(self, frame: int, tokens: Tokens) -> bool:
        """Whether ``frame`` is a word boundary according to both paths."""
        if self._goes_on(frame):
            return False
        last = self._spans_before[: _num_before(self._spans_before, self._offset + frame)][-1:]
        following = self._spans_after[_num_before(self._spans_after, frame) :][:1]
        inside = all(beside and not tokens.is_space(beside[0].token) for beside in (last, following))
        return not inside or tokens.starts_word(following[0].token)

    def agreement(self, frame: int) -> int:
        """The number of tokens on which both paths agree on each side of ``frame``, at most ``_AGREED``."""
        i, j = _num_before(self._overlap_before, frame), _num_before(self._overlap_after, frame)
        left = _agreeing(self._overlap_before[:i][::-1], self._overlap_after[:j][::-1])
        return min(left, _agreeing(self._overlap_before[i:], self._overlap_after[j:]))

    def _token(self, frame: int) -> int:
        return self._after[frame] if frame < len(self._after) else BLANK_ID

    def _goes_on(self, frame: int) -> bool:
        """Whether ``frame`` of the joined path continues the token of the frame before it."""
        at, token = self._offset + frame, self._token(frame)
        return at > 0 and token != BLANK_ID and token == self._before[at - 1]


def _num_before(found: list[Span], frame: int) -> int:
    """The number of tokens that start before ``frame``."""
    return bisect_left(found, frame, key=lambda span: span.start)


def _agreeing(first: list[Span], second: list[Span]) -> int:
    """The number of leading tokens that agree, at most ``_AGREED``; ``_AGREED`` if both end in agreement."""
    for count in range(_AGREED):
        if count >= len(first) or count >= len(second):
            return _AGREED if len(first) == len(second) else count
        a, b = first[count], second[count]
        if a.token != b.token or abs(a.start - b.start) > _TOLERANCE:
            return count
    return _AGREED
