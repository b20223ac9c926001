"""A cut model as one graph of tensors: batch and time are dynamic, padding and normalization are inside.

fairseq2's `BatchLayout` and tables of positions hold sizes fixed when they are made; what stands here says
the same in tensors, and the encoder's own loop runs it.

Shapes: B utterances, T feature frames, F mel bands, S stream frames, D model dimension, V tokens.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from fairseq2.models.transformer import AttentionBiasCache, IdentityBias
from torch import Tensor, nn

from supernet.audio.features import LOG_MEL, NUM_BANDS
from supernet.network.branches import Rows
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL, Body, Map, Running

MARGIN = LOG_MEL.shortest + 1
"""Frames of silence appended inside: the frontend reads any input, and no shape depends on whether it did."""

_MASKED = -1e9
"""Attention to padding. Not minus infinity, which some runtimes turn into not-a-number."""


class Graph(nn.Module):
    """What every exported file computes.

    ``forward(x (B, T, F) float32, x_lens (B,) int64)`` gives log-probabilities (B, S, V) and their lengths
    (B,) int64, at least 1 each; what stands behind a length means nothing.
    """

    def __init__(self, recognizer: SupernetCTC) -> None:
        super().__init__()
        self.recognizer = copy.deepcopy(recognizer).float().cpu()
        _compute_positions(self.recognizer.encoder)
        self.eval()

    def forward(self, x: Tensor, x_lens: Tensor) -> tuple[Tensor, Tensor]:
        x_BTF = F.pad(x, (0, 0, 0, MARGIN))
        num_frames_B = x_lens.clamp(min=1)
        x_BSD = self.recognizer.frontend(x_BTF, _mask(x_BTF, num_frames_B))
        lengths_B = (((num_frames_B - 1) // 2 - 1) // 2).clamp(min=1)  # LOG_MEL.num_stream_frames
        layout: Any = _Layout(x_BSD, lengths_B)
        walk = _Straight(self.recognizer.encoder.place(x_BSD, layout), layout)
        self.recognizer.run(walk)
        return self.recognizer.read(walk.output_BSD, len(self.recognizer.table)), lengths_B


def example(num_frames: int = 64) -> tuple[Tensor, Tensor]:
    """Two utterances to trace with, one of them padded."""
    return torch.zeros(2, num_frames, NUM_BANDS), torch.tensor([num_frames, num_frames // 2])


def _mask(x_BTF: Tensor, lengths_B: Tensor) -> Tensor:
    return torch.arange(x_BTF.size(1), device=x_BTF.device)[None] < lengths_B[:, None]


class _Layout:
    """What the layers ask of a `BatchLayout`, always padded."""

    packed, padded = False, True

    def __init__(self, x_BSD: Tensor, lengths_B: Tensor) -> None:
        self.width = self.max_seq_len = x_BSD.size(1)
        self.seq_lens_pt = lengths_B
        mask_BS = _mask(x_BSD, lengths_B)
        self.position_indices = torch.where(mask_BS, torch.arange(x_BSD.size(1))[None], -1)
        bias_BS = torch.zeros_like(mask_BS, dtype=x_BSD.dtype).masked_fill(~mask_BS, _MASKED)
        self.cache = AttentionBiasCache()
        self.cache.set(IdentityBias(), "tensor", bias_BS[:, None, None, :])


class _Straight:
    """The walk of one stream with all units; only the caller of the graph knows how many rows it has."""

    def __init__(self, x_BSD: Tensor, layout: Any) -> None:
        self._x_BSD, self._context = x_BSD, Rows(layout, layout.cache)
        self.output_BSD = x_BSD
        """What was read at the end."""

    def run(self, units: Sequence[int], body: Body) -> None:
        self._x_BSD = body(self._x_BSD, self._context, Running(tuple(range(len(units)))))

    def apply(self, map: Map) -> None:
        self._x_BSD = map(self._x_BSD)

    def read(self, position: int, norm: Map) -> None:
        if position == FINAL:
            self.output_BSD = norm(self._x_BSD)


def _compute_positions(encoder: Any) -> None:
    """Angles instead of tables of angles, which have a longest input and do not shrink with the layers."""
    if encoder.positions is not None:
        encoder.positions = _Sinusoidal(encoder.positions.encoding_dim)
    for layer in encoder.layers.values():
        if hasattr(layer, "self_attn") and hasattr(layer.self_attn.sdpa, "pos_encoding"):
            layer.self_attn.sdpa.pos_encoding = _Relative(layer.self_attn.sdpa.pos_encoding.encoding_dim)


class _Sinusoidal(nn.Module):
    """`SinusoidalPositionEncoder` without its table: all sines, then all cosines."""

    rates: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        half = dim // 2
        rates = torch.exp(torch.arange(half) * -math.log(10_000.0) / (half - 1))
        self.register_buffer("rates", rates, persistent=False)

    def forward(self, x_BSD: Tensor, layout: object) -> Tensor:
        angles = torch.arange(x_BSD.size(1), dtype=torch.float32)[:, None] * self.rates
        return x_BSD + torch.cat([angles.sin(), angles.cos()], dim=-1)


class _Relative(nn.Module):
    """`RelativePositionalEncoding` without its table: sines and cosines in turn, from the farthest ahead."""

    rates: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        rates = torch.exp(torch.arange(0, dim, 2) * -math.log(10_000.0) / dim)
        self.register_buffer("rates", rates, persistent=False)

    def forward(self, x_BHSK: Tensor) -> Tensor:
        farthest = x_BHSK.size(-2) - 1
        angles = torch.arange(farthest, -farthest - 1, -1, dtype=torch.float32)[:, None] * self.rates
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
