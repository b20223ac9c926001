"""Split long recordings at pauses, into segments as long as the utterances that a network was trained on.

A network trained on single short sentences outputs nonsense from the second sentence of a recording on.
Speech that continues for longer than the longest utterance has no pause to split at: such chunks overlap.

Shapes: S samples, N frames of 10 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from supernet.audio.specification import SAMPLE_RATE
from supernet.recognition.chunks import Chunk

_HOP = SAMPLE_RATE // 100
_QUIET_DB = 20.0
"""The minimum difference between the loudest frame within a second and a frame of a pause."""
_MEMORY_DB = 10.0
"""The maximum difference between earlier speech and the level that pauses are compared with; without it,
noise alone would not be a pause.
"""
_AROUND = 100
"""Frames: a second."""
_LONG = 30
"""Frames of a pause at which a segment of more than typical length is split."""
_LEAST = 30
"""Frames of the shortest segment."""
_MARGIN = 15
"""Frames of a pause that are kept on each side; more would be unlike training utterances."""


def chunks_at_pauses(
    blocks: Iterable[Tensor], typical: int, longest: int, overlap: int, frame: int
) -> Iterator[Chunk]:
    """Split a recording at pauses.

    A recording that fits into one chunk is left as it is. Others are split at pauses, the longest first, of
    which only the edges are kept; segments of more than ``typical`` frames also at every pause of 0.3 s.
    Without pauses, chunks overlap.

    Args:
        blocks: Samples (S,) at 16 kHz.
        typical: Stream frames of a typical training utterance.
        longest: The most stream frames of a chunk.
        overlap: Stream frames shared by chunks without a pause between them.
        frame: Samples of a stream frame.
    """
    cutter = _Cutter(typical, longest, overlap, frame)
    held, position, last = torch.zeros(0), 0, None
    size = longest * frame
    for block in blocks:
        held = torch.cat([held, block])
        while len(held) > size + _AROUND * _HOP:
            found, step = cutter.first(held)
            for start, samples in found:
                if last is not None:
                    yield last
                last = Chunk(samples, (position + start) // frame, is_last=False)
            held, position = held[step:].clone(), position + step
    total = position + len(held)
    if total <= size:
        yield Chunk(held, 0, is_last=True, length=total)
        return
    for start, samples in cutter.rest(held):
        if last is not None:
            yield last
        last = Chunk(samples, (position + start) // frame, is_last=False)
    last = last or Chunk(held[:size], position // frame, is_last=False)
    yield replace(last, is_last=True, length=total)


class _Cutter:
    """Finds the segments of a recording part by part; remembers its loudness."""

    def __init__(self, typical: int, longest: int, overlap: int, frame: int) -> None:
        self._frame, self._size, self._step = frame, longest * frame, (longest - overlap) * frame
        self._typical, self._longest = typical * frame // _HOP, longest * frame // _HOP
        self._loudest = -120.0

    def first(self, held: Tensor) -> tuple[list[tuple[int, Tensor]], int]:
        """The segments of the first part of ``held``, which ends at a pause, and the length of that part."""
        quiet_N = self._quiet(held)
        pauses = [(a, b) for a, b in _runs(quiet_N[: self._longest + _AROUND]) if a <= self._longest]
        if pauses and pauses[0][0] == 0 and (before := self._whole(pauses[0][1] - _MARGIN)) > 0:
            return [], before
        pauses = [run for run in pauses if _middle(run) >= _LEAST]
        if not pauses:
            return [(0, held[: self._size])], self._step
        stop = _middle(max(pauses, key=lambda run: (run[1] - run[0], run[1])))
        return self._segments(held, quiet_N, 0, stop), self._whole(stop)

    def rest(self, held: Tensor) -> list[tuple[int, Tensor]]:
        """The segments of the end of the recording."""
        quiet_N = self._quiet(held)
        if not len(quiet_N):
            return []
        found: list[tuple[int, Tensor]] = []
        position = 0
        while len(held) - position > self._size:
            part, step = self.first(held[position:])
            found += [(position + start, samples) for start, samples in part]
            position += step
        quiet_N = self._quiet(held[position:])
        found += [
            (position + start, samples)
            for start, samples in self._segments(held[position:], quiet_N, 0, len(quiet_N))
        ]
        return found

    def _whole(self, frame: int) -> int:
        """The number of samples before ``frame``, rounded down to stream frames."""
        return frame * _HOP // self._frame * self._frame

    def _quiet(self, held: Tensor) -> NDArray[np.bool_]:
        """Which frames (N,) are part of a pause."""
        level_N = _levels(held)
        if not len(level_N):
            return np.zeros(0, bool)
        around_N = F.max_pool1d(level_N[None, None], 2 * _AROUND + 1, 1, _AROUND)[0, 0]
        self._loudest = max(self._loudest - 1.0, float(level_N.max()))
        reference_N = around_N.clamp(min=self._loudest - _MEMORY_DB)
        quiet_N: NDArray[np.bool_] = (level_N < reference_N - _QUIET_DB).numpy()
        return quiet_N

    def _segments(
        self, held: Tensor, quiet_N: NDArray[np.bool_], start: int, stop: int
    ) -> list[tuple[int, Tensor]]:
        """The segments between two frames, split recursively at the longest pause, without its silence."""
        loud = np.flatnonzero(~quiet_N[start:stop])
        if not len(loud):
            return []
        first, last = (
            max(start, start + int(loud[0]) - _MARGIN),
            min(stop, start + int(loud[-1]) + 1 + _MARGIN),
        )
        inside = [(a, b) for a, b in _runs(quiet_N[first:last]) if a >= _LEAST and last - first - b >= _LEAST]
        if inside and last - first > self._typical:
            a, b = max(inside, key=lambda run: run[1] - run[0])
            if b - a >= _LONG or last - first > self._longest:
                middle = first + _middle((a, b))
                return [
                    *self._segments(held, quiet_N, first, middle),
                    *self._segments(held, quiet_N, middle, last),
                ]
        begin = self._whole(first)
        end = len(held) if last >= len(quiet_N) else last * _HOP
        return [(begin, held[begin : min(end, begin + self._size)].clone())]


def _levels(held: Tensor) -> Tensor:
    """The level of each whole frame (N,) in dB of full scale, over 30 ms."""
    count = len(held) // _HOP
    if not count:
        return torch.zeros(0)
    power_N = held[: count * _HOP].view(count, _HOP).square().mean(dim=1)
    smooth_N = F.avg_pool1d(power_N[None, None], 3, 1, 1, count_include_pad=False)[0, 0]
    return 10 * torch.log10(smooth_N + 1e-12)


def _runs(quiet_N: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The first frame of each pause, and the one after its last."""
    edges = np.flatnonzero(np.diff(np.r_[False, quiet_N, False].astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _middle(run: tuple[int, int]) -> int:
    return (run[0] + run[1]) // 2
