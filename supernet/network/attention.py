"""Self-attention with relative positions (arXiv 1901.02860), computed from the weights of fairseq2's modules.

Equal to the engine's own computation up to rounding, but cheaper: positions are projected once instead of for
each row, content and position terms are accumulated within the matrix products, queries, keys, and values are
computed in one product, and tensors that are quadratic in the length are processed in parts that fit the
processor's cache.

Shapes: N rows, S frames, D model dimension, H heads, K features of a head, W distances; in a part: P pairs of
heads and rows, Q queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from fairseq2.models.transformer import IdentityBias
from torch import Tensor
from torch.autograd.function import once_differentiable

from supernet.network.branches import Rows

CACHED = 1 << 18
"""The number of scores and distances in a part on a CPU: a megabyte in single precision."""
WHOLE = 256
"""Streams of at most this many frames are not divided by queries, so their MACs follow the formula."""
QUERIES = 64
"""The number of queries in a part of longer streams."""


def attend_relative(attention: Any, x_NSD: Tensor, rows: Rows) -> Tensor:
    """The output of ``attention``, which has a `RelativePositionSDPA`, for the streams ``x_NSD``."""
    positions, (layout, cache) = attention.sdpa, rows
    bias_N11S = cache.maybe_get(IdentityBias(), "tensor", Tensor) if layout.padded else None
    r_WD = positions.r_proj(positions.pos_encoding(x_NSD))
    heads = positions.u_bias.shape
    q_HNSK, k_HNSK, v_HNSK = (
        y_NSD.view(*x_NSD.shape[:2], *heads).permute(2, 0, 1, 3).contiguous()
        for y_NSD in _project(attention, x_NSD)
    )
    scale = q_HNSK.size(-1) ** -0.5
    # The query already includes the content bias.
    apart_HK = ((positions.v_bias - positions.u_bias) * scale).to(q_HNSK.dtype)
    inputs = (
        q_HNSK,
        q_HNSK + apart_HK[:, None, None],
        k_HNSK,
        v_HNSK,
        r_WD.view(-1, *heads).transpose(0, 1),
        bias_N11S,
    )
    attend: Any = _Attention.apply if torch.is_grad_enabled() else _attend
    y_HNSK: Tensor = attend(*inputs)
    return attention.output_proj(y_HNSK.permute(1, 2, 0, 3).flatten(2))  # type: ignore[no-any-return]


def _project(attention: Any, x_NSD: Tensor) -> tuple[Tensor, ...]:
    """Queries (with the content bias, divided by the square root of a head's features), keys, and values."""
    q, k, v = attention.q_proj, attention.k_proj, attention.v_proj
    u_HK = attention.sdpa.u_bias
    scale = u_HK.size(-1) ** -0.5
    weight_ED = torch.cat([q.weight * scale, k.weight, v.weight])
    bias_E = torch.cat([(q.bias + u_HK.flatten()) * scale, k.bias, v.bias])
    return F.linear(x_NSD, weight_ED, bias_E).chunk(3, dim=-1)


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


def _shifted(x_HMW: Tensor, num_rows: int) -> Tensor:
    """The values of ``x_HMW``, one per distance and query, for each query and key: a view (P, Q, S)."""
    num_heads, m, w = x_HMW.shape
    q = m // num_rows
    return x_HMW.as_strided((num_heads * num_rows, q, w - q + 1), (q * w, w - 1, 1), q - 1)


def _attend(
    q_HNSK: Tensor,
    p_HNSK: Tensor,
    k_HNSK: Tensor,
    v_HNSK: Tensor,
    r_HWK: Tensor,
    bias_N11S: Tensor | None,
    *,
    weights: list[Tensor] | None = None,
) -> Tensor:
    """The weighted values (H, N, S, K); the attention weights of each part are added to ``weights``.

    Args:
        q_HNSK: The content queries.
        p_HNSK: The position queries.
        k_HNSK: The keys.
        v_HNSK: The values.
        r_HWK: The position keys, from the farthest back to the farthest ahead.
        bias_N11S: Minus infinity in padding.
        weights: Receives the attention weights (P, Q, S).
    """
    y_HNSK = torch.empty_like(q_HNSK)
    num_rows = q_HNSK.size(1)
    for heads, queries, distances in _parts(q_HNSK):
        q_HNQK, p_HNQK = q_HNSK[heads, :, queries], p_HNSK[heads, :, queries]
        d_HMW = torch.bmm(p_HNQK.flatten(1, 2), r_HWK[heads, distances].transpose(1, 2))
        s_PQS = _shifted(d_HMW, num_rows)
        q_PQK, k_PSK, v_PSK = q_HNQK.flatten(0, 1), k_HNSK[heads].flatten(0, 1), v_HNSK[heads].flatten(0, 1)
        if bias_N11S is None:
            s_PQS = torch.baddbmm(s_PQS, q_PQK, k_PSK.transpose(1, 2))
        else:
            s_HNQS = s_PQS.view(-1, num_rows, *s_PQS.shape[1:])
            s_PQS = (s_HNQS + bias_N11S[:, 0]).flatten(0, 1)
            torch.baddbmm(s_PQS, q_PQK, k_PSK.transpose(1, 2), out=s_PQS)
        # It computes in single precision inside; a GPU's autocast also returns that.
        w_PQS = torch.softmax(s_PQS, -1).to(s_PQS.dtype)
        y_HNSK[heads, :, queries] = torch.bmm(w_PQS, v_PSK).view_as(q_HNQK)
        if weights is not None:
            weights.append(w_PQS)
    return y_HNSK


class _Attention(torch.autograd.Function):
    """``_attend`` with gradients; the buffer for gradients of all distances is cleared once, not per part."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        weights: list[Tensor] = []
        y_HNSK = _attend(*inputs, weights=weights)
        ctx.save_for_backward(*inputs[:5], *weights)
        return y_HNSK

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_HNSK: Tensor) -> tuple[Tensor | None, ...]:
        q_HNSK, p_HNSK, k_HNSK, v_HNSK, r_HWK, *weights = ctx.saved_tensors
        num_rows, room = q_HNSK.size(1), dict[tuple[int, ...], Tensor]()
        dq_HNSK, dp_HNSK = torch.empty_like(q_HNSK), torch.empty_like(p_HNSK)
        dk_HNSK, dv_HNSK, dr_HWK = (torch.zeros_like(x) for x in (k_HNSK, v_HNSK, r_HWK))
        for (heads, queries, distances), w_PQS in zip(_parts(q_HNSK), weights, strict=True):
            q_HNQK, p_HNQK, dy_HNQK = (x[heads, :, queries] for x in (q_HNSK, p_HNSK, dy_HNSK))
            q_PQK, p_HMK, dy_PQK = q_HNQK.flatten(0, 1), p_HNQK.flatten(1, 2), dy_HNQK.flatten(0, 1)
            dw_PQS = torch.bmm(dy_PQK, v_HNSK[heads].flatten(0, 1).transpose(1, 2))
            ds_PQS = torch._softmax_backward_data(dw_PQS, w_PQS, -1, w_PQS.dtype)
            shape = (*p_HMK.shape[:2], distances.stop - distances.start)
            if shape not in room:
                room[shape] = q_HNSK.new_zeros(shape)
            dd_HMW = room[shape]
            ds_PQS = _shifted(dd_HMW, num_rows).copy_(ds_PQS)
            dq_HNSK[heads, :, queries] = torch.bmm(ds_PQS, k_HNSK[heads].flatten(0, 1)).view_as(q_HNQK)
            dp_HNSK[heads, :, queries] = torch.bmm(dd_HMW, r_HWK[heads, distances]).view_as(p_HNQK)
            dk_HNSK[heads] += torch.bmm(ds_PQS.transpose(1, 2), q_PQK).view_as(k_HNSK[heads])
            dv_HNSK[heads] += torch.bmm(w_PQS.transpose(1, 2), dy_PQK).view_as(v_HNSK[heads])
            dr_HWK[heads, distances] += torch.bmm(dd_HMW.transpose(1, 2), p_HMK)
        return dq_HNSK, dp_HNSK, dk_HNSK, dv_HNSK, dr_HWK, None
