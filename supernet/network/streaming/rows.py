"""The contexts of rows that are read in chunks, each in its own: masks of attention, and convolutions that
are cut at the end of a chunk.

Shapes: N rows, S frames, D channels, K frames of a kernel, L frames of chunks one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from fairseq2.models.transformer import AttentionBiasCache, IdentityBias
from torch import Tensor

from supernet.network.branches import Layout, Rows, rows_of
from supernet.network.depthwise import depthwise
from supernet.network.lanes import Padding
from supernet.network.streaming.chunking import Chunkings
from supernet.system.devices import sent


class ChunkedPadding(Padding):
    """The lengths of batch rows, how each is read, and the contexts of any selection of them."""

    def __init__(self, lengths: Sequence[int], x_BSD: Tensor, chunkings: Chunkings) -> None:
        super().__init__(lengths, x_BSD)
        self._chunkings = [
            None if c is None else c.within(n) for c, n in zip(chunkings, lengths, strict=True)
        ]

    def of(self, rows: tuple[int, ...]) -> Rows:
        if rows not in self._known:
            lengths, chunkings = [self._lengths[row] for row in rows], [self._chunkings[row] for row in rows]
            self._known[rows] = chunked_rows(lengths, chunkings, self._width, self._device, self._dtype)
        return self._known[rows]  # type: ignore[no-any-return]


def chunked_rows(
    lengths: Sequence[int], chunkings: Chunkings, width: int, device: torch.device, dtype: torch.dtype
) -> Rows:
    """The context of rows of these lengths in streams of ``width`` frames, each read in its own chunks."""
    if not any(chunkings):
        return rows_of(lengths, width, device, dtype)
    sizes = [width if chunking is None else chunking.frames for chunking in chunkings]
    lefts = [chunking.left_frames if chunking is not None else None for chunking in chunkings]
    before = [width if frames is None else frames for frames in lefts]
    lengths_N, sizes_N, before_N = (sent(torch.tensor(x), device) for x in (lengths, sizes, before))
    cache = AttentionBiasCache()
    cache.set(IdentityBias(), "tensor", _bias(lengths_N, sizes_N, before_N, width, dtype))
    return Rows(Layout(width, lengths_N), cache, CutRows(sizes, sizes_N, width))


def _bias(lengths_N: Tensor, sizes_N: Tensor, before_N: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """Minus infinity (N, 1, S, S) where a query does not see a key."""
    frames_S = torch.arange(width, device=lengths_N.device)
    start_NS = frames_S // sizes_N[:, None] * sizes_N[:, None]
    first_NS1 = (start_NS - before_N[:, None])[..., None]
    stop_NS1 = torch.minimum(start_NS + sizes_N[:, None], lengths_N[:, None])[..., None]
    is_seen_NSS = (frames_S >= first_NS1) & (frames_S < stop_NS1)
    # Frames of the padding see themselves: the softmax of nothing is not a number.
    is_seen_NSS |= torch.eye(width, dtype=torch.bool, device=frames_S.device)
    bias_NSS = torch.zeros_like(is_seen_NSS, dtype=dtype).masked_fill_(~is_seen_NSS, -torch.inf)
    return bias_NSS[:, None]


@dataclass(frozen=True)
class _Places:
    """The chunks of rows one after the other, each between the frames before it and zeros."""

    source_M: Tensor
    """For each frame of each row, the frame of the rows that stands there."""
    is_nothing_NL1: Tensor
    """Where there is none."""
    target_M: Tensor
    """For each frame of the rows, its place after the convolution."""


class CutRows:
    """Convolutions over rows that end at the end of each chunk (dynamic chunk convolution, arXiv
    2304.09325).

    A frame sees as far ahead as its chunk goes, and beyond it zeros, so that a row that is one chunk is
    convolved as a whole. All layers use the same places, computed once per width of kernel.
    """

    attends = False

    def __init__(self, sizes: Sequence[int], sizes_N: Tensor, width: int) -> None:
        self._sizes, self._sizes_N, self._width = list(sizes), sizes_N, width
        self._known: dict[int, _Places] = {}

    def attend(self, attention: Any, x_NSD: Tensor) -> Tensor:
        raise NotImplementedError("the bias of the rows says what attention sees")

    def convolve(self, x_NSD: Tensor, weight_D1K: Tensor, bias_D: Tensor | None) -> Tensor:
        """Convolve each channel of ``x_NSD``, which is zero in padding, with its own kernel."""
        reach = weight_D1K.size(-1) // 2
        if reach not in self._known:
            self._known[reach] = self._places(reach)
        places, (n, s, d) = self._known[reach], x_NSD.shape
        spread_NLD = x_NSD.reshape(n * s, d).index_select(0, places.source_M).view(n, -1, d)
        spread_NLD = spread_NLD.masked_fill(places.is_nothing_NL1, 0.0)
        y_NLD = depthwise(spread_NLD, weight_D1K, bias_D, padding=0)
        return y_NLD.reshape(-1, d).index_select(0, places.target_M).view(n, s, d)

    def _places(self, reach: int) -> _Places:
        width, sizes_N1, device = self._width, self._sizes_N[:, None], self._sizes_N.device
        rows_N1 = torch.arange(len(self._sizes), device=device)[:, None]
        length = max(-(-width // size) * (size + 2 * reach) for size in self._sizes)
        places_L, frames_S = torch.arange(length, device=device), torch.arange(width, device=device)
        room_N1 = sizes_N1 + 2 * reach
        inside_NL = places_L % room_N1
        source_NL = places_L // room_N1 * sizes_N1 + inside_NL - reach
        is_nothing_NL = (source_NL < 0) | (source_NL >= width) | (inside_NL >= sizes_N1 + reach)
        source_NL = source_NL.clamp(0, width - 1) + rows_N1 * width
        target_NS = frames_S // sizes_N1 * room_N1 + frames_S % sizes_N1 + rows_N1 * (length - 2 * reach)
        return _Places(source_NL.flatten(), is_nothing_NL[..., None], target_NS.flatten())
