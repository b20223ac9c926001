"""Attention and convolution over one chunk of one utterance, which remember what came before it.

Shapes: C frames of a chunk with its look-ahead, S visible frames (C and those before), D model dimension, H
heads, K features of a head, Q queries; in scores, any number of leading dimensions.
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
        bias_S: Added to the scores of the visible frames: minus infinity where there is nothing. None: 0.
        ahead: The last frames in the call that are its look-ahead, and not remembered.
        is_there_C: Where there is something in the call. None: everywhere.
    """

    attends = True

    def __init__(
        self,
        limit: int | None = None,
        attended: Sequence[Tensor] = (),
        convolved: Sequence[Tensor] = (),
        bias_S: Tensor | None = None,
        ahead: int = 0,
        is_there_C: Tensor | None = None,
    ) -> None:
        self._limit, self._bias_S, self._ahead, self._is_there_C = limit, bias_S, ahead, is_there_C
        self._before, self._before_convolved = list(attended), list(convolved)
        self.attended: list[Tensor] = []
        """By attention that has been called for this chunk, the memory for the next one."""
        self.convolved: list[Tensor] = []
        """By convolution, likewise."""

    def next(self, ahead: int = 0) -> Memory:
        """The memory for the next chunk, which has a look-ahead."""
        return Memory(self._limit, self.attended, self.convolved, ahead=ahead)

    def convolve(self, x_1CD: Tensor, weight_D1K: Tensor, bias_D: Tensor | None) -> Tensor:
        """Convolve a chunk, before which are the frames in memory, and after which are zeros."""
        if self._is_there_C is not None:
            x_1CD = torch.where(self._is_there_C[:, None], x_1CD, 0.0)
        reach, i = weight_D1K.size(-1) // 2, len(self.convolved)
        known = i < len(self._before_convolved)
        before_1SD = self._before_convolved[i] if known else x_1CD.new_zeros(1, reach, x_1CD.size(2))
        x_1SD = torch.cat([before_1SD, x_1CD], dim=1)
        stop = x_1SD.size(1) - self._ahead
        self.convolved.append(x_1SD[:, stop - reach : stop])
        return depthwise(F.pad(x_1SD, (0, 0, 0, reach)), weight_D1K, bias_D, padding=0)

    def attend(self, attention: Any, x_1CD: Tensor) -> Tensor:
        """The output of ``attention`` for a chunk, which sees itself and the frames in memory."""
        q_HCK, k_HCK, v_HCK = (of_heads(attention, name, x_1CD[0]) for name in ("q_proj", "k_proj", "v_proj"))
        kv_HSE, i = torch.cat([k_HCK, v_HCK], dim=-1), len(self.attended)
        if i < len(self._before):
            kv_HSE = torch.cat([self._before[i], kv_HSE], dim=1)
        self.attended.append(self._kept(kv_HSE, x_1CD.size(1)))
        k_HSK, v_HSK = kv_HSE.chunk(2, dim=-1)
        (chunk, seen), at_S = (x_1CD.size(1), k_HSK.size(1)), torch.arange(k_HSK.size(1), device=x_1CD.device)
        # From the farthest back to the farthest ahead of the last query, which is beyond what the first one
        # sees.
        steps_CS = at_S - torch.arange(chunk, device=x_1CD.device)[:, None] + (chunk - 1)
        s_HCS = scores(attention.sdpa, q_HCK, k_HSK, k_HSK[0], steps_CS, seen + chunk - 1)
        s_HCS = s_HCS * q_HCK.size(-1) ** -0.5
        if self._bias_S is not None:
            s_HCS = s_HCS + self._bias_S
        y_HCK = s_HCS.softmax(-1) @ v_HSK
        return attention.output_proj(y_HCK.transpose(0, 1).flatten(1)[None])  # type: ignore[no-any-return]

    def _kept(self, kv_HSE: Tensor, num_new: int) -> Tensor:
        """The part that the next chunk sees."""
        seen, num_new = kv_HSE.size(1) - self._ahead, num_new - self._ahead
        kv_HSE = kv_HSE[:, :seen]
        if self._bias_S is not None:  # of a fixed length, in a graph
            return kv_HSE[:, num_new:]
        return kv_HSE if self._limit is None else kv_HSE[:, max(0, seen - self._limit) :]


def of_heads(attention: Any, name: str, x_SD: Tensor) -> Tensor:
    """A projection (..., H, S, K) of ``x_SD`` (..., S, D) by head."""
    projected = getattr(attention, name)(x_SD)
    found: Tensor = projected.unflatten(-1, (attention.num_heads, -1)).transpose(-3, -2)
    return found


def scores(
    sdpa: Any,
    q_HQK: Tensor,
    k_HSK: Tensor,
    like_SK: Tensor,
    steps_QS: Tensor,
    num_steps: int | None = None,
) -> Tensor:
    """The scores (..., H, Q, S), with relative positions (arXiv 1901.02860) if ``sdpa`` has any.

    Args:
        sdpa: An attention's computation of products.
        q_HQK: Queries (..., H, Q, K).
        k_HSK: Keys (..., H, S, K).
        like_SK: Has as many frames as positions range over.
        steps_QS: From each query to each key, the number of steps; 0 is from the last position to the first.
        num_steps: The number of different steps. None: from the first position to the last, too.
    """
    if not hasattr(sdpa, "pos_encoding"):
        return q_HQK @ k_HSK.transpose(-2, -1)
    u_H1K, v_H1K = sdpa.u_bias[:, None], sdpa.v_bias[:, None]
    r_WD = sdpa.r_proj(sdpa.pos_encoding(like_SK[None]))[:num_steps]
    r_HWK = r_WD.unflatten(-1, (q_HQK.size(-3), -1)).transpose(0, 1)
    d_HQW = (q_HQK + v_H1K) @ r_HWK.transpose(-2, -1)
    d_HQS: Tensor = d_HQW.gather(-1, steps_QS.expand(*d_HQW.shape[:-2], -1, -1))
    return (q_HQK + u_H1K) @ k_HSK.transpose(-2, -1) + d_HQS  # type: ignore[no-any-return]
