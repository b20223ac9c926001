"""The encoders of wav2vec 2.0, HuBERT and WavLM (arXiv 2006.11477, 2106.07447, 2110.13900).

Shapes: N rows, S frames, D model dimension, H heads, K features of a head.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernet.network.branches import Branch, Branches
from supernet.network.huggingface.family import HuggingFaceFamily
from supernet.network.huggingface.frames import Frames, frames_of, joined, traced_frames
from supernet.network.huggingface.samples import SamplesFrontend
from supernet.units import Module


class SpeechTransformer(HuggingFaceFamily):
    """Transformer layers on samples. The context of rows is ``Frames``."""

    input = "samples"
    layer_type = "transformer"
    exports = True
    dropouts = (
        ("dropout", "hidden_dropout"),
        ("ffn_dropout", "activation_dropout"),
        ("attention_dropout", "attention_dropout"),
    )

    @property
    def _is_wavlm(self) -> bool:
        return self.library.model_type == "wavlm"

    @property
    def _has_adapters(self) -> bool:
        return getattr(self.encoder, "adapter_attn_dim", None) is not None

    @property
    def modules(self) -> tuple[Module, ...]:
        found = Module("self_attn", "attention"), Module("ffn", "feed-forward")
        return (*found, Module("adapter", "feed-forward")) if self._has_adapters else found

    @property
    def drops_modules(self) -> bool:
        return bool(self.encoder.do_stable_layer_norm)

    def frontend(self) -> nn.Module:
        norm = None if self.encoder.do_stable_layer_norm else self._norm()
        normalizes = bool(self.options.features.get("do_normalize", True))
        return SamplesFrontend(self.library, self.encoder, normalizes, True, norm)

    def norm(self) -> nn.Module:
        return self._norm() if self.encoder.do_stable_layer_norm else nn.Identity()

    def _norm(self) -> nn.Module:
        return nn.LayerNorm(self.encoder.hidden_size, eps=self.encoder.layer_norm_eps)

    @cached_property
    def _bias(self) -> RelativeBias:
        e = self.encoder
        return RelativeBias(e.num_buckets, e.max_bucket_distance, e.num_attention_heads)

    def positions(self) -> nn.Module | None:
        """Build the bias that all layers of a WavLM share, which does not change the stream."""
        return self._bias if self._is_wavlm else None

    def layer(self, number: int, shared: None) -> nn.Module:
        name = "EncoderLayerStableLayerNorm" if self.encoder.do_stable_layer_norm else "EncoderLayer"
        more = {"has_relative_position_bias": False} if self._is_wavlm else {}
        layer: nn.Module = self.library.make(name, self.encoder, **more)
        return layer

    def branches(self, layer: Any) -> Branches:
        is_stable, named = self.encoder.do_stable_layer_norm, dict[str, Branch]()
        after = dict[str, nn.Module]()
        parts = {"self_attn": ("attention", "layer_norm"), "ffn": ("feed_forward", "final_layer_norm")}
        for name, (part, norm) in parts.items():
            if not hasattr(layer, part):
                continue
            module = getattr(layer, part)
            call = self._attend(module) if name == "self_attn" else lambda x, frames, run=module: run(x)
            dropout = layer.dropout if name == "self_attn" else None
            before = getattr(layer, norm) if is_stable else None
            named[name] = Branch(module, call, before, dropout=dropout, attributes=(part, norm))
            if not is_stable:
                after[name] = getattr(layer, norm)
        if getattr(layer, "adapter_layer", None) is not None:
            adapter = layer.adapter_layer
            named["adapter"] = Branch(adapter, lambda x, frames: adapter(x), attributes=("adapter_layer",))
        return Branches(layer, named, None, after)

    def _attend(self, attention: Any) -> Any:
        if self._is_wavlm:
            return lambda x_NSD, frames: attend_gated(attention, x_NSD, frames, self._bias)
        return lambda x_NSD, frames: attention(x_NSD, attention_mask=frames.attention_mask(x_NSD))[0]

    def rows(self, lengths: Sequence[int], width: int, device: torch.device, dtype: torch.dtype) -> Frames:
        return frames_of(lengths, width, device, dtype)

    def traced_rows(self, x_BSD: Tensor, lengths_B: Tensor) -> Frames:
        return traced_frames(x_BSD, lengths_B)

    @classmethod
    def names(cls, configuration: Mapping[str, Any]) -> Iterable[tuple[str, str | None]]:
        prefix = str(configuration["model_type"]).replace("-", "_")
        is_stable = configuration.get("do_stable_layer_norm", False)
        norm = "encoder.norm." if is_stable else "frontend.layer_norm."
        embedding = "encoder.layers.0.attention.rel_attn_embed."
        return (
            (f"{prefix}.feature_extractor.", "frontend.feature_extractor."),
            (f"{prefix}.feature_projection.", "frontend.feature_projection."),
            (f"{prefix}.encoder.pos_conv_embed.", "frontend.pos_conv_embed."),
            (f"{prefix}.encoder.layer_norm.", norm),
            (f"{prefix}.{embedding}", "encoder.positions.embedding."),
            (f"{prefix}.encoder.layers.", "encoder.layers."),
            (f"{prefix}.masked_spec_embed", None),  # only training uses it
            ("lm_head.", "heads.shared."),
        )


class RelativeBias(nn.Module):
    """The attention bias of each distance between frames (arXiv 2110.13900, section 3.1). As a module between
    frontend and layers, it leaves the stream alone.
    """

    def __init__(self, num_buckets: int, max_distance: int, num_heads: int) -> None:
        super().__init__()
        self._num_buckets, self._max_distance = num_buckets, max_distance
        self.embedding = nn.Embedding(num_buckets, num_heads)

    def forward(self, x_BSD: Tensor) -> Tensor:
        return x_BSD

    def of(self, num_frames: int) -> Tensor:
        """The bias (H, S, S) of each query for each key."""
        positions_S = torch.arange(num_frames, device=self.embedding.weight.device)
        buckets_SS = self._buckets(positions_S[None] - positions_S[:, None])
        bias_HSS: Tensor = self.embedding(buckets_SS).permute(2, 0, 1)
        return bias_HSS

    def _buckets(self, distances_SS: Tensor) -> Tensor:
        """Half of the buckets are for each direction; those of far keys grow logarithmically."""
        half = self._num_buckets // 2
        exact = half // 2
        far_SS = distances_SS.abs()
        growth = torch.log(far_SS.clamp(min=1).float() / exact) / math.log(self._max_distance / exact)
        large_SS = (exact + growth * (half - exact)).clamp(max=half - 1).to(torch.long)
        return (distances_SS > 0).long() * half + torch.where(far_SS < exact, far_SS, large_SS)


def attend_gated(attention: Any, x_NSD: Tensor, frames: Frames, bias: RelativeBias) -> Tensor:
    """Self-attention with the gated relative position bias of WavLM (arXiv 2110.13900, section 3.1)."""
    num_heads = attention.num_heads
    x_NHSK = x_NSD.view(*x_NSD.shape[:2], num_heads, -1).transpose(1, 2)
    gates_NHS8: Tensor = attention.gru_rel_pos_linear(x_NHSK)
    gates_NHS2 = gates_NHS8.view(*gates_NHS8.shape[:-1], 2, 4).sum(-1).sigmoid()
    update_NHS1, reset_NHS1 = gates_NHS2.chunk(2, dim=-1)
    gate_NHS1 = update_NHS1 * (reset_NHS1 * attention.gru_rel_pos_const - 1.0) + 2.0
    bias_NHSS = gate_NHS1 * bias.of(x_NSD.size(1))
    if frames.bias_N11S is not None:
        bias_NHSS = bias_NHSS + frames.bias_N11S
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    q_NHSK, k_NHSK, v_NHSK = (
        project(x_NSD).unflatten(-1, (num_heads, -1)).transpose(1, 2) for project in projections
    )
    dropout = attention.dropout if attention.training else 0.0
    y_NHSK = F.scaled_dot_product_attention(q_NHSK, k_NHSK, v_NHSK, bias_NHSS, dropout)
    return attention.out_proj(joined(y_NHSK))  # type: ignore[no-any-return]
