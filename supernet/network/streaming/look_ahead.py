"""All chunks of a batch at once, each with the frames after it that it sees.

A chunk is computed together with the frames that follow it, its look-ahead. Those are computed again as a
part of their own chunk, which sees more. A stream therefore has S frames, and after them, for each chunk,
copies of the frames that follow it. Copies are beyond the length of every row, so that what reads a stream
ignores them (arXiv 2010.10759, section 2.2).

Shapes: N rows, S frames, W frames and copies, D model dimension, H heads, K features of a head, L frames of
chunks one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from supernet.network.branches import Layout, Rows
from supernet.network.depthwise import depthwise
from supernet.network.lanes import Padding
from supernet.network.streaming.chunking import Chunking
from supernet.network.streaming.memory import of_heads, scores
from supernet.system.devices import sent


class LookAhead:
    """The places of ``num_frames`` frames, and of the copies after them.

    Args:
        chunking: The chunks, with a look-ahead.
        num_frames: The frames of a stream, S.
    """

    def __init__(self, chunking: Chunking, num_frames: int) -> None:
        self.chunking, self.num_frames = chunking, num_frames
        self._num_chunks = -(-num_frames // chunking.frames)
        frames_S, chunks_B = torch.arange(num_frames), torch.arange(self._num_chunks)
        copied_BA = chunks_B[:, None] * chunking.frames + chunking.frames + torch.arange(chunking.ahead)
        self.frame_W = torch.cat([frames_S, copied_BA.flatten()])
        """For each place, the number of its frame, which for a copy may be S or more: there is none."""
        self.chunk_W = torch.cat([frames_S // chunking.frames, chunks_B.repeat_interleave(chunking.ahead)])
        """For each place, the chunk with which it is computed."""
        self.is_copy_W = torch.arange(len(self.frame_W)) >= num_frames

    @classmethod
    def of(cls, chunking: Chunking, width: int) -> LookAhead:
        """Those of a stream that has ``width`` frames and copies together."""
        whole = chunking.frames + chunking.ahead
        return cls(chunking, width - ((width - 1 - chunking.ahead) // whole + 1) * chunking.ahead)

    def extended(self, x_NSD: Tensor) -> Tensor:
        """The frames, and after them the copies (N, W, D)."""
        return x_NSD.index_select(1, sent(self.frame_W.clamp(max=self.num_frames - 1), x_NSD.device))

    def is_seen(self) -> Tensor:
        """Whether a place sees another one (W, W), of which there may be nothing."""
        query_W1, key_W = self.chunk_W[:, None], self.chunk_W
        left = self._num_chunks if self.chunking.left is None else self.chunking.left
        is_before_WW = (key_W <= query_W1) & (key_W >= query_W1 - left)
        return torch.where(self.is_copy_W, key_W == query_W1, is_before_WW)

    def convolved(self, reach: int) -> tuple[Tensor, Tensor]:
        """How to convolve with kernels that see ``reach`` frames to each side: for each of L, the place that
        stands there, or -1 (L,); and for each place, where its result is (W,).

        A chunk and its look-ahead stand between the frames before it and zeros.
        """
        size, ahead = self.chunking.frames, self.chunking.ahead
        room = size + ahead + 2 * reach
        inside_BR = torch.arange(room).expand(self._num_chunks, -1) - reach
        chunk_B1 = torch.arange(self._num_chunks)[:, None]
        frame_BR = chunk_B1 * size + inside_BR
        is_frame_BR = (frame_BR >= 0) & (frame_BR < self.num_frames)
        place_BR = torch.where((inside_BR < size) & is_frame_BR, frame_BR, -1)
        copy_BR = self.num_frames + chunk_B1 * ahead + inside_BR - size
        is_copy_BR = (inside_BR >= size) & (inside_BR < size + ahead)
        place_BR = torch.where(is_copy_BR, copy_BR, place_BR)
        result_W = self.chunk_W * room + self.frame_W - self.chunk_W * size
        return place_BR.flatten(), result_W


class LookAheadPadding(Padding):
    """The lengths of batch rows that all are read in the same chunks, and the contexts of any selection of
    them.

    Args:
        lengths: The valid frames of each row.
        x_BWD: The streams, with copies.
        chunking: The chunks, with a look-ahead.
    """

    def __init__(self, lengths: Sequence[int], x_BWD: Tensor, chunking: Chunking) -> None:
        super().__init__(lengths, x_BWD)
        self._places = LookAhead.of(chunking, x_BWD.size(1))
        self._is_seen_WW = sent(self._places.is_seen(), self._device)
        self._frame_W = sent(self._places.frame_W, self._device)

    def of(self, rows: tuple[int, ...]) -> Rows:
        if rows not in self._known:
            lengths_N = sent(torch.tensor([self._lengths[row] for row in rows]), self._device)
            layout = Layout(self._width, lengths_N)
            layout.is_padding_NS = self._frame_W >= lengths_N[:, None]
            is_seen_NWW = self._is_seen_WW & ~layout.is_padding_NS[:, None]
            # Frames of the padding see themselves: the softmax of nothing is not a number.
            is_seen_NWW |= torch.eye(self._width, dtype=torch.bool, device=self._device)
            bias_NWW = torch.zeros_like(is_seen_NWW, dtype=self._dtype).masked_fill(~is_seen_NWW, -torch.inf)
            chunks = _Chunks(self._places, self._frame_W, bias_NWW[:, None])
            self._known[rows] = Rows(layout, None, chunks)  # type: ignore[arg-type]
        return self._known[rows]  # type: ignore[no-any-return]


class _Chunks:
    """See ``branches.Chunks``."""

    attends = True

    def __init__(self, places: LookAhead, frame_W: Tensor, bias_N1WW: Tensor) -> None:
        self._places, self._frame_W, self._bias_N1WW = places, frame_W, bias_N1WW
        self._known: dict[int, tuple[Tensor, Tensor]] = {}

    def attend(self, attention: Any, x_NWD: Tensor) -> Tensor:
        """The output of ``attention``, whose positions are those of the frames."""
        q, k, v = (of_heads(attention, name, x_NWD) for name in ("q_proj", "k_proj", "v_proj"))
        count = self._places.num_frames
        at_W = self._frame_W.clamp(max=count - 1)
        steps_WW = at_W - at_W[:, None] + count - 1
        s_NHWW = scores(attention.sdpa, q, k, x_NWD[0, :count], steps_WW) * q.size(-1) ** -0.5
        y_NHWK = (s_NHWW + self._bias_N1WW).softmax(-1) @ v
        return attention.output_proj(y_NHWK.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def convolve(self, x_NWD: Tensor, weight_D1K: Tensor, bias_D: Tensor | None) -> Tensor:
        """Convolve each channel of ``x_NWD``, which is zero where there is nothing."""
        reach = weight_D1K.size(-1) // 2
        if reach not in self._known:
            place_L, result_W = self._places.convolved(reach)
            self._known[reach] = sent(place_L, x_NWD.device), sent(result_W, x_NWD.device)
        place_L, result_W = self._known[reach]
        spread_NLD = x_NWD.index_select(1, place_L.clamp(min=0)).masked_fill((place_L < 0)[:, None], 0.0)
        return depthwise(spread_NLD, weight_D1K, bias_D, padding=0).index_select(1, result_W)
