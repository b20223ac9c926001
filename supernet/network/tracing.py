"""Replacements for tables and host data in traced graphs with any number of rows and frames.

fairseq2's position tables have fixed sizes; these compute the same with tensors. Shapes: B
utterances, T feature frames, S stream frames, D model dimension, H heads, K features of a head.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from supernet.network.branches import Layout, Rows, padded_rows

MASKED = -1e9
"""The attention bias of padding. Not minus infinity, which becomes NaN in some runtimes."""


def mask(x_BTF: Tensor, lengths_B: Tensor) -> Tensor:
    """A mask (B, T) of the valid frames."""
    return torch.arange(x_BTF.size(1), device=x_BTF.device)[None] < lengths_B[:, None]


def traced_rows(x_BSD: Tensor, lengths_B: Tensor) -> Rows:
    """The context that ``EncoderFamily.rows`` makes by default, in tensors."""
    return padded_rows(Layout(x_BSD.size(1), lengths_B), MASKED, x_BSD.dtype)


def trace(encoder: Any) -> None:
    """Make ``encoder`` compute its angles instead of reading them from tables, which limit the length of the
    input and do not get smaller with fewer layers.
    """
    if encoder.positions is not None:
        encoder.positions = _Sinusoids(encoder.positions.table.encoding_dim)
    for layer in encoder.layers.values():
        if hasattr(layer, "self_attn") and hasattr(layer.self_attn.sdpa, "pos_encoding"):
            layer.self_attn.sdpa.pos_encoding = _Relative(layer.self_attn.sdpa.pos_encoding.encoding_dim)


class _Sinusoids(nn.Module):
    """`SinusoidalPositionEncoder` without a table: all sines, then all cosines."""

    rates: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        half = dim // 2
        rates = torch.exp(torch.arange(half) * -math.log(10_000.0) / (half - 1))
        self.register_buffer("rates", rates, persistent=False)

    def forward(self, x_BSD: Tensor) -> Tensor:
        angles = torch.arange(x_BSD.size(1), dtype=torch.float32)[:, None] * self.rates
        return x_BSD + torch.cat([angles.sin(), angles.cos()], dim=-1)


class _Relative(nn.Module):
    """`RelativePositionalEncoding` without a table: alternating sines and cosines, farthest ahead first."""

    rates: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        rates = torch.exp(torch.arange(0, dim, 2) * -math.log(10_000.0) / dim)
        self.register_buffer("rates", rates, persistent=False)

    def forward(self, x_BHSK: Tensor) -> Tensor:
        farthest = x_BHSK.size(-2) - 1
        angles = torch.arange(farthest, -farthest - 1, -1, dtype=torch.float32)[:, None] * self.rates
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
