"""Self-attention with relative positions (arXiv 1901.02860), computed from the weights of fairseq2's modules.

Equal to the engine's own computation up to rounding, but cheaper: positions are projected once instead of for
each row, content and position terms are accumulated within the matrix products, queries, keys, and values are
computed in one product, and tensors that are quadratic in the length are processed in parts that fit the
processor's cache.

Shapes: N rows, S frames, D model dimension, H heads, K features of a head, W distances; in a part: P pairs of
heads and rows, Q queries.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from fairseq2.models.transformer import IdentityBias
from torch import Tensor
from torch.autograd.function import once_differentiable

from supernet.network.branches import Rows

CACHED = 1 << 20
"""The number of scores and distances in a part on a CPU: four megabytes in single precision."""
WHOLE = 256
"""Streams of at most this many frames are not divided by queries, so their MACs follow the formula."""
QUERIES = 128
"""The number of queries in a part of longer streams."""


def attend_relative(attention: Any, x_NSD: Tensor, rows: Rows) -> Tensor:
    """The output of ``attention``, which has a `RelativePositionSDPA`, for the streams ``x_NSD``."""
    positions, (layout, cache, _) = attention.sdpa, rows
    bias_N1QS = cache.maybe_get(IdentityBias(), "tensor", Tensor) if layout.padded else None
    r_WD = positions.r_proj(positions.pos_encoding(x_NSD))
    heads = positions.u_bias.shape
    x_NS3HK = _project(attention, x_NSD).view(*x_NSD.shape[:2], 3, *heads)
    # The query already includes the content bias.
    apart_HK = ((positions.v_bias - positions.u_bias) * heads[1] ** -0.5).to(x_NS3HK.dtype)
    inputs = (
        x_NS3HK.permute(2, 3, 0, 1, 4).contiguous(),
        apart_HK,
        r_WD.view(-1, *heads).transpose(0, 1),
        bias_N1QS,
    )
    attend: Any = _Attention.apply if torch.is_grad_enabled() else _attend
    y_HNSK: Tensor = attend(*inputs)
    return attention.output_proj(y_HNSK.permute(1, 2, 0, 3).flatten(2))  # type: ignore[no-any-return]


def _project(attention: Any, x_NSD: Tensor) -> Tensor:
    """Queries (with the content bias, divided by the square root of a head's features), keys, and values."""
    q, k, v = attention.q_proj, attention.k_proj, attention.v_proj
    u_HK = attention.sdpa.u_bias
    scale = u_HK.size(-1) ** -0.5
    if not torch.is_grad_enabled() and x_NSD.size(0) * x_NSD.size(1) < x_NSD.size(2):
        # Fewer values than the weights have: these are put side by side instead.
        q_NSE = F.linear(x_NSD, q.weight, q.bias + u_HK.flatten()) * scale
        return torch.cat([q_NSE, F.linear(x_NSD, k.weight, k.bias), F.linear(x_NSD, v.weight, v.bias)], -1)
    weight_ED = torch.cat([q.weight * scale, k.weight, v.weight])
    bias_E = torch.cat([(q.bias + u_HK.flatten()) * scale, k.bias, v.bias])
    return F.linear(x_NSD, weight_ED, bias_E)


class _Part(NamedTuple):
    """Some heads, some queries, and the distances from these queries to all keys."""

    heads: slice
    queries: slice
    distances: slice


def _parts(x_HNSK: Tensor) -> Iterator[_Part]:
    num_heads, num_rows, num_frames, _ = x_HNSK.shape
    num_queries = num_frames if num_frames <= WHOLE else QUERIES
    together = max(1, CACHED // max(1, num_rows * num_queries * (2 * num_frames + num_queries)))
    if x_HNSK.device.type != "cpu":
        num_queries, together = num_frames, num_heads
    for head in range(0, num_heads, together):
        for start in range(0, num_frames, num_queries):
            stop = min(start + num_queries, num_frames)
            distances = slice(num_frames - stop, 2 * num_frames - 1 - start)
            yield _Part(slice(head, head + together), slice(start, stop), distances)


class _Scratch:
    """Memory for tensors that are needed one after another: used again, it stays in the processor's cache."""

    def __init__(self, like: Tensor) -> None:
        self._empty_X, self._zeros = like.new_empty(0), dict[tuple[int, ...], Tensor]()

    def empty(self, *shape: int) -> Tensor:
        """Any values."""
        size = math.prod(shape)
        if self._empty_X.numel() < size:
            self._empty_X = self._empty_X.new_empty(size)
        return self._empty_X[:size].view(shape)

    def zeros(self, *shape: int) -> Tensor:
        """Zeros where nothing was written to the zeros of this shape."""
        if shape not in self._zeros:
            self._zeros[shape] = self._empty_X.new_zeros(shape)
        return self._zeros[shape]


def _pairs(x_HNSK: Tensor, part: _Part, *, all_frames: bool = False) -> Tensor:
    """The heads and rows of a part as pairs, with its queries or all frames: a view (P, Q or S, K)."""
    return x_HNSK[part.heads, :, slice(None) if all_frames else part.queries].flatten(0, 1)


def _plus(x_HNSK: Tensor, y_HK: Tensor) -> Tensor:
    """The sum. Repeated, as broadcasting over so few values is slow in half precision."""
    h, n, s, k = x_HNSK.shape
    return (x_HNSK.view(h, n, s * k) + y_HK.repeat(1, s)[:, None]).view_as(x_HNSK)


def _shifted(x_HMW: Tensor, num_rows: int) -> Tensor:
    """The values of ``x_HMW``, one per distance and query, for each query and key: a view (P, Q, S)."""
    num_heads, m, w = x_HMW.shape
    q = m // num_rows
    return x_HMW.as_strided((num_heads * num_rows, q, w - q + 1), (q * w, w - 1, 1), q - 1)


def _attend(
    x_3HNSK: Tensor,
    apart_HK: Tensor,
    r_HWK: Tensor,
    bias_N1QS: Tensor | None,
    *,
    weights: list[Tensor] | None = None,
) -> Tensor:
    """The weighted values (H, N, S, K); the attention weights of each part are added to ``weights``.

    Args:
        x_3HNSK: The content queries, the keys, and the values.
        apart_HK: The difference between position queries and content queries.
        r_HWK: The position keys, from the farthest back to the farthest ahead.
        bias_N1QS: Minus infinity where a query does not see a key; one for all queries, or one for each.
        weights: Receives the attention weights (P, Q, S).
    """
    q_HNSK, k_HNSK, v_HNSK = x_3HNSK
    p_HNSK = _plus(q_HNSK, apart_HK)
    y_HNSK, num_rows, scratch = torch.empty_like(q_HNSK), q_HNSK.size(1), _Scratch(q_HNSK)
    for part in _parts(q_HNSK):
        p_HMK = p_HNSK[part.heads, :, part.queries].flatten(1, 2)
        r_HKW = r_HWK[part.heads, part.distances].transpose(1, 2)
        d_HMW = scratch.empty(*p_HMK.shape[:2], r_HKW.size(2))
        s_PQS = _shifted(torch.bmm(p_HMK, r_HKW, out=d_HMW), num_rows)
        q_PQK, k_PKS = _pairs(q_HNSK, part), _pairs(k_HNSK, part, all_frames=True).transpose(1, 2)
        if bias_N1QS is None:
            s_PQS = torch.baddbmm(s_PQS, q_PQK, k_PKS)
        else:
            s_HNQS = s_PQS.view(-1, num_rows, *s_PQS.shape[1:])
            bias_NQS = bias_N1QS[:, 0] if bias_N1QS.size(2) == 1 else bias_N1QS[:, 0, part.queries]
            s_PQS = (s_HNQS + bias_NQS).flatten(0, 1).baddbmm_(q_PQK, k_PKS)
        w_PQS = torch.softmax(s_PQS, -1, out=s_PQS)  # in single precision inside
        torch.bmm(w_PQS, _pairs(v_HNSK, part, all_frames=True), out=_pairs(y_HNSK, part))
        if weights is not None:
            weights.append(w_PQS)
    return y_HNSK


class _Attention(torch.autograd.Function):
    """``_attend`` with gradients; the buffer for gradients of all distances is cleared once, not per part."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        weights: list[Tensor] = []
        y_HNSK = _attend(*inputs, weights=weights)
        ctx.save_for_backward(*inputs[:3], *weights)
        return y_HNSK

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_HNSK: Tensor) -> tuple[Tensor | None, ...]:
        x_3HNSK, apart_HK, r_HWK, *weights = ctx.saved_tensors
        (q_HNSK, k_HNSK, v_HNSK), p_HNSK = x_3HNSK, _plus(x_3HNSK[0], apart_HK)
        dx_3HNSK, dr_HWK, dp_HNSK = (
            torch.zeros_like(x_3HNSK),
            torch.zeros_like(r_HWK),
            torch.empty_like(q_HNSK),
        )
        (dq_HNSK, dk_HNSK, dv_HNSK), scratch = dx_3HNSK, _Scratch(q_HNSK)
        for part, w_PQS in zip(_parts(q_HNSK), weights, strict=True):
            heads, queries, distances = part
            q_PQK, dy_PQK = _pairs(q_HNSK, part), _pairs(dy_HNSK, part)
            k_PSK, v_PSK, dk_PSK, dv_PSK = (
                _pairs(x, part, all_frames=True) for x in (k_HNSK, v_HNSK, dk_HNSK, dv_HNSK)
            )
            dw_PQS = torch.bmm(dy_PQK, v_PSK.transpose(1, 2), out=scratch.empty(*w_PQS.shape))
            ds_PQS = torch._softmax_backward_data(dw_PQS, w_PQS, -1, w_PQS.dtype, grad_input=dw_PQS)
            torch.bmm(ds_PQS, k_PSK, out=_pairs(dq_HNSK, part))
            dk_PSK.baddbmm_(ds_PQS.transpose(1, 2), q_PQK)
            dv_PSK.baddbmm_(w_PQS.transpose(1, 2), dy_PQK)
            p_HNQK, here_HWK = p_HNSK[heads, :, queries], r_HWK[heads, distances]
            p_HMK = p_HNQK.flatten(1, 2)
            dd_HMW = scratch.zeros(*p_HMK.shape[:2], here_HWK.size(1))
            _shifted(dd_HMW, q_HNSK.size(1)).copy_(ds_PQS)
            dp_HNSK[heads, :, queries] = torch.bmm(dd_HMW, here_HWK).view_as(p_HNQK)
            dr_HWK[heads, distances].baddbmm_(dd_HMW.transpose(1, 2), p_HMK)
        dq_HNSK += dp_HNSK
        return dx_3HNSK, dp_HNSK.sum((1, 2)), dr_HWK, None
