"""Attention and convolution over one chunk of one utterance, which remember what came before it.

Shapes: C frames of a chunk, S visible frames (C and those before), D model dimension, H heads, K features of
a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.network.depthwise import depthwise


class Memory:
    """The frames before a chunk, by call of an attention or a convolution, in the order of the calls.

    A subnet calls its modules in the same order for every chunk, so that nothing else identifies them.

    Args:
        limit: The most frames before a chunk that attention sees. None: all.
        attended: By attention, its keys and values (H, S, 2K) so far.
        convolved: By convolution, the last frames (1, S, D) of its input so far.
        bias_S: Added to the scores of the visible frames: minus infinity where the memory is empty. None: 0.
    """

    attends = True

    def __init__(
        self,
        limit: int | None = None,
        attended: Sequence[Tensor] = (),
        convolved: Sequence[Tensor] = (),
        bias_S: Tensor | None = None,
    ) -> None:
        self._limit, self._bias_S = limit, bias_S
        self._before, self._before_convolved = list(attended), list(convolved)
        self.attended: list[Tensor] = []
        """By attention that has been called for this chunk, the memory for the next one."""
        self.convolved: list[Tensor] = []
        """By convolution, likewise."""

    def next(self) -> Memory:
        """The memory for the next chunk."""
        return Memory(self._limit, self.attended, self.convolved)

    def convolve(self, x_1CD: Tensor, weight_D1K: Tensor, bias_D: Tensor | None) -> Tensor:
        """Convolve a chunk, before which are the frames in memory, and after which are zeros."""
        reach, i = weight_D1K.size(-1) // 2, len(self.convolved)
        known = i < len(self._before_convolved)
        before_1SD = self._before_convolved[i] if known else x_1CD.new_zeros(1, reach, x_1CD.size(2))
        x_1SD = torch.cat([before_1SD, x_1CD], dim=1)
        self.convolved.append(x_1SD[:, x_1SD.size(1) - reach :])
        return depthwise(F.pad(x_1SD, (0, 0, 0, reach)), weight_D1K, bias_D, padding=0)

    def attend(self, attention: Any, x_1CD: Tensor) -> Tensor:
        """The output of ``attention`` for a chunk, which sees itself and the frames in memory."""
        q_HCK, k_HCK, v_HCK = (_of_heads(attention, name, x_1CD) for name in ("q_proj", "k_proj", "v_proj"))
        kv_HSE, i = torch.cat([k_HCK, v_HCK], dim=-1), len(self.attended)
        if i < len(self._before):
            kv_HSE = torch.cat([self._before[i], kv_HSE], dim=1)
        self.attended.append(self._kept(kv_HSE, x_1CD.size(1)))
        k_HSK, v_HSK = kv_HSE.chunk(2, dim=-1)
        s_HCS = _scores(attention.sdpa, q_HCK, k_HSK) * q_HCK.size(-1) ** -0.5
        if self._bias_S is not None:
            s_HCS = s_HCS + self._bias_S
        y_HCK = s_HCS.softmax(-1) @ v_HSK
        return attention.output_proj(y_HCK.transpose(0, 1).flatten(1)[None])  # type: ignore[no-any-return]

    def _kept(self, kv_HSE: Tensor, num_new: int) -> Tensor:
        """The part that the next chunk sees."""
        if self._bias_S is not None:  # of a fixed length, in a graph
            return kv_HSE[:, num_new:]
        return kv_HSE if self._limit is None else kv_HSE[:, max(0, kv_HSE.size(1) - self._limit) :]


def _of_heads(attention: Any, name: str, x_1CD: Tensor) -> Tensor:
    """A projection by head (H, C, K)."""
    projected_CD = getattr(attention, name)(x_1CD)[0]
    heads: Tensor = projected_CD.unflatten(-1, (attention.num_heads, -1)).transpose(0, 1)
    return heads


def _scores(sdpa: Any, q_HCK: Tensor, k_HSK: Tensor) -> Tensor:
    """The scores (H, C, S), with relative positions (arXiv 1901.02860) if ``sdpa`` has any."""
    if not hasattr(sdpa, "pos_encoding"):
        return q_HCK @ k_HSK.transpose(1, 2)
    (num_heads, chunk, _), seen = q_HCK.shape, k_HSK.size(1)
    u_H1K, v_H1K = sdpa.u_bias[:, None], sdpa.v_bias[:, None]
    # From the farthest back to the farthest ahead of the last query, which is beyond what the first one sees.
    r_WD = sdpa.r_proj(sdpa.pos_encoding(k_HSK))[: seen + chunk - 1]
    r_HWK = r_WD.unflatten(-1, (num_heads, -1)).transpose(0, 1)
    d_HCW = (q_HCK + v_H1K) @ r_HWK.transpose(1, 2)
    frames = torch.arange(seen, device=q_HCK.device)
    places_CS = frames - torch.arange(chunk, device=q_HCK.device)[:, None] + (chunk - 1)
    d_HCS: Tensor = d_HCW.gather(2, places_CS.expand(num_heads, -1, -1))
    return (q_HCK + u_H1K) @ k_HSK.transpose(1, 2) + d_HCS  # type: ignore[no-any-return]
