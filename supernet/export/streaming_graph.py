"""A cut streaming model as a graph of one chunk, with inputs and outputs for what it remembers.

Shapes: T feature frames, F mel bands, C stream frames of the chunk, A of its look-ahead, S visible ones
(both, and P before the chunk), D model dimension, H heads, K features of a head, L blocks, R frames that a
convolution remembers, V tokens.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from fairseq2.models.transformer import AttentionBiasCache
from torch import Tensor, nn

from supernet.audio.specification import LOUDER
from supernet.encoder_family import family_of
from supernet.export.graph import Straight
from supernet.network.branches import Layout, Rows
from supernet.network.streaming.memory import Memory
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.tracing import MASKED

INPUTS = ("x", "offset", "required_cache_size", "attn_cache", "conv_cache", "attn_mask")
OUTPUTS = ("log_probs", "next_attn_cache", "next_conv_cache")


class StreamingGraph(nn.Module):
    """The computation of a chunk, with the inputs that sherpa-onnx gives to networks of WeNet.

    ``forward`` takes features ``x`` (1, T, F) of samples in [-32768, 32767]; ``offset`` and
    ``required_cache_size``, which it does not need; keys and values ``attn_cache`` (L, H, P, 2K), the last
    frames ``conv_cache`` (L, 1, D, R), and ``attn_mask`` (1, 1, S), false where there is nothing: where the
    memory is still empty, or after the end of the utterance. sherpa-onnx gives it without the look-ahead,
    which then is there. It returns log-probabilities (1, C, V) and both memories for the next chunk.

    Args:
        recognizer: A cut streaming model.
        ahead: The frames of a chunk's look-ahead, A.
    """

    def __init__(self, recognizer: SupernetCTC, ahead: int = 0) -> None:
        super().__init__()
        self._ahead = ahead
        self.recognizer = copy.deepcopy(recognizer).float().cpu()
        family_of(recognizer.config.model).trace(self.recognizer.encoder)
        layers: list[Any] = list(self.recognizer.encoder.layers.values())
        self._heads = [layer.self_attn.num_heads for layer in layers if hasattr(layer, "self_attn")]
        convolutions = [layer.conv.depthwise_conv for layer in layers if hasattr(layer, "conv")]
        self._reaches: list[int] = [conv.weight.size(-1) // 2 for conv in convolutions]
        self.eval()

    @property
    def num_blocks(self) -> int:
        """The number of blocks, L: enough for all attentions and all convolutions of the cut model."""
        return max(1, len(self._heads), len(self._reaches))

    @property
    def num_remembered(self) -> int:
        """The frames that a convolution remembers, R."""
        return max([1, *self._reaches])

    def example(self) -> dict[str, Tensor]:
        """Inputs to trace with: the second chunk of four frames."""
        model, chunk, before = self.recognizer.config.model, 4, 8
        input = self.recognizer.input
        chunk += self._ahead
        num_frames = (chunk - 1) * input.subsampling + input.shortest
        width = 2 * (model.dim // model.num_heads)
        mask = torch.ones(1, 1, before + chunk, dtype=torch.bool)
        mask[..., :4] = False
        values = (
            torch.randn(1, num_frames, input.width),
            torch.tensor([before]),
            torch.tensor([before]),
            torch.randn(self.num_blocks, model.num_heads, before, width),
            torch.randn(self.num_blocks, 1, model.dim, self.num_remembered),
            mask,
        )
        return dict(zip(INPUTS, values, strict=True))

    def forward(
        self,
        x: Tensor,
        offset: Tensor,
        required_cache_size: Tensor,
        attn_cache: Tensor,
        conv_cache: Tensor,
        attn_mask: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x_1TF = x - LOUDER
        x_1CD = self.recognizer.frontend(x_1TF, torch.ones_like(x_1TF[..., 0], dtype=torch.bool))
        seen = attn_cache.size(2) + x_1CD.size(1)
        mask_S = torch.cat([attn_mask[0, 0], attn_mask.new_ones(self._ahead)])
        mask_S = mask_S.index_select(0, torch.arange(seen))
        is_there_C = mask_S[attn_cache.size(2) :] if self._ahead else None
        bias_S = torch.where(mask_S, 0.0, MASKED)
        attended = [attn_cache[i, :heads] for i, heads in enumerate(self._heads)]
        convolved = [conv_cache[i, ..., :n].transpose(1, 2) for i, n in enumerate(self._reaches)]
        memory = Memory(None, attended, convolved, bias_S, self._ahead, is_there_C)
        walk = Straight(x_1CD, Rows(Layout(x_1CD.size(1)), AttentionBiasCache(), memory))
        self.recognizer.run(walk)
        y_1CD = walk.output_BSD[:, : x_1CD.size(1) - self._ahead]
        log_probs = self.recognizer.read(y_1CD, len(self.recognizer.table))
        return log_probs, self._attended(memory, attn_cache), self._convolved(memory, conv_cache)

    def _attended(self, memory: Memory, attn_cache: Tensor) -> Tensor:
        """The next ``attn_cache``: what is remembered, and the rest as it was."""
        blocks = [
            torch.cat([kv_HPE, attn_cache[i, kv_HPE.size(0) :]]) for i, kv_HPE in enumerate(memory.attended)
        ]
        return torch.cat([torch.stack(blocks), attn_cache[len(blocks) :]]) if blocks else attn_cache + 0

    def _convolved(self, memory: Memory, conv_cache: Tensor) -> Tensor:
        """The next ``conv_cache``, likewise."""
        blocks = [
            torch.cat([x_1RD.transpose(1, 2), conv_cache[i, ..., x_1RD.size(1) :]], dim=-1)
            for i, x_1RD in enumerate(memory.convolved)
        ]
        return torch.cat([torch.stack(blocks), conv_cache[len(blocks) :]]) if blocks else conv_cache + 0
