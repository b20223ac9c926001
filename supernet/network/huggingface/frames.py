"""The context of rows for layers of `transformers`, and computations on it that differ from the library's.

Shapes: N rows, S frames, D model dimension, H heads, K features of a head, W distances, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernet.network.depthwise import depthwise
from supernet.network.tracing import MASKED, mask
from supernet.system.devices import sent


class Frames(NamedTuple):
    """The context of the rows in a call."""

    bias_N11S: Tensor | None = None
    """The attention bias, minus infinity in padding. None: there is no padding."""
    padding_NS1: Tensor | None = None
    """Whether a frame is padding."""
    positions: Tensor | None = None
    """The positions that attention reads."""

    def attention_mask(self, x_NSD: Tensor) -> Tensor | None:
        """The bias for each query (N, 1, S, S)."""
        return None if self.bias_N11S is None else self.bias_N11S.expand(-1, -1, x_NSD.size(1), -1)


def frames_of(
    lengths: Sequence[int],
    width: int,
    device: torch.device,
    dtype: torch.dtype,
    positions: Tensor | None = None,
) -> Frames:
    """The context of rows of these lengths in streams of ``width`` frames."""
    if min(lengths) == width:
        return Frames(positions=positions)
    ends_N1 = sent(torch.tensor(lengths), device)[:, None]
    padding_NS = torch.arange(width, device=device) >= ends_N1
    bias_NS = torch.zeros(padding_NS.shape, dtype=dtype, device=device).masked_fill(padding_NS, -torch.inf)
    return Frames(bias_NS[:, None, None], padding_NS[..., None], positions)


def traced_frames(x_NSD: Tensor, lengths_N: Tensor, positions: Tensor | None = None) -> Frames:
    """As ``frames_of``, in tensors: for a graph with any number of rows and frames."""
    padding_NS = ~mask(x_NSD, lengths_N)
    bias_NS = torch.zeros_like(padding_NS, dtype=x_NSD.dtype).masked_fill(padding_NS, MASKED)
    return Frames(bias_NS[:, None, None], padding_NS[..., None], positions)


def distances(width: int, dim: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The sinusoids (2 S - 1, D) of all distances between frames, from the farthest back to the farthest
    ahead (arXiv 1901.02860); sines and cosines alternate.
    """
    rates = torch.exp(torch.arange(0, dim, 2, device=device) * (-math.log(10_000.0) / dim))
    angles = torch.arange(width - 1, -width, -1, device=device, dtype=torch.float32)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).to(dtype)


class RelativeAttention(NamedTuple):
    """The parameters of self-attention with relative positions (arXiv 1901.02860), whatever their names."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear
    position: nn.Linear
    content_bias_HK: Tensor
    position_bias_HK: Tensor
    dropout: float

    def __call__(self, x_NSD: Tensor, frames: Frames) -> Tensor:
        """Attend; positions are projected once for all rows."""
        heads = self.content_bias_HK.shape
        q_NSHK, k_NSHK, v_NSHK = (p(x_NSD).unflatten(-1, heads) for p in (self.query, self.key, self.value))
        assert frames.positions is not None
        r_WHK = self.position(frames.positions).unflatten(-1, heads)
        bias_NHSS = _by_key(torch.einsum("nshk,whk->nhsw", q_NSHK + self.position_bias_HK, r_WHK))
        bias_NHSS = bias_NHSS / math.sqrt(heads[1])
        if frames.bias_N11S is not None:
            bias_NHSS = bias_NHSS + frames.bias_N11S
        q_NHSK, k_NHSK, v_NHSK = (x.transpose(1, 2) for x in (q_NSHK + self.content_bias_HK, k_NSHK, v_NSHK))
        y_NHSK = F.scaled_dot_product_attention(q_NHSK, k_NHSK, v_NHSK, bias_NHSS, self.dropout)
        return self.output(joined(y_NHSK))  # type: ignore[no-any-return]


def joined(x_NHSK: Tensor) -> Tensor:
    """The outputs of all heads side by side (N, S, D). A view would bind a traced graph to their strides."""
    return torch.cat(x_NHSK.unbind(1), dim=-1)


def _by_key(x_NHSW: Tensor) -> Tensor:
    """The values for the distance of each query to each key (N, H, S, S)."""
    n, h, s, w = x_NHSW.shape
    return F.pad(x_NHSW, (1, 0)).view(n, h, w + 1, s)[:, :, 1:].view(n, h, s, w)[..., :s]


def convolve(conv: Any, batch_norm: nn.Module, x_NSD: Tensor, frames: Frames) -> Tensor:
    """Run a Conformer's convolution ``conv`` so that padding does not reach valid frames."""
    y_NSD = F.glu(conv.pointwise_conv1(x_NSD.transpose(1, 2)), dim=1).transpose(1, 2)
    if frames.padding_NS1 is not None:
        y_NSD = y_NSD.masked_fill(frames.padding_NS1, 0.0)
    middle = conv.depthwise_conv
    y_NSD = depthwise(y_NSD, middle.weight, middle.bias)
    y_NDS = conv.activation(batch_norm(y_NSD.transpose(1, 2)))
    return conv.pointwise_conv2(y_NDS).transpose(1, 2)  # type: ignore[no-any-return]


class FrozenBatchNorm(nn.Module):
    """Batch normalization with the statistics of the checkpoint, also in training, so that an utterance does
    not depend on the others in its batch.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, norm: nn.BatchNorm1d) -> None:
        super().__init__()
        self.eps, self.weight, self.bias = norm.eps, norm.weight, norm.bias
        self.register_buffer("running_mean", norm.running_mean)
        self.register_buffer("running_var", norm.running_var)

    def forward(self, x_NCS: Tensor) -> Tensor:
        return F.batch_norm(x_NCS, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
