"""The encoder of Wav2Vec2-Conformer (arXiv 2010.05171) as in `transformers`, on samples.

Shapes: N rows, S frames, D model dimension, H heads, K features of a head.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from supernet.audio.features import InputName
from supernet.network.branches import Branch, Branches, Call
from supernet.network.builtin import KINDS
from supernet.network.huggingface.family import HuggingFaceFamily
from supernet.network.huggingface.frames import (
    Frames,
    FrozenBatchNorm,
    RelativeAttention,
    convolve,
    distances,
    frames_of,
    traced_frames,
)
from supernet.network.huggingface.samples import SamplesFrontend
from supernet.units import MODULES, Module


class Names(NamedTuple):
    """The attributes of the library's layers, in the order of this project's modules."""

    modules: Sequence[str]
    norms: Sequence[str | None]
    """None: the norm is within the module, as ``layer_norm``."""
    batch_norm: str
    """The batch normalization of the convolution."""
    final_norm: str


class ConformerFamily(HuggingFaceFamily):
    """Conformer layers of `transformers`. The context of rows is ``Frames``."""

    layer_type = "conformer"
    exports = True
    attributes: ClassVar[Names]

    @property
    def modules(self) -> tuple[Module, ...]:
        return tuple(Module(name, KINDS.get(name, "feed-forward")) for name in MODULES["conformer"])

    @abstractmethod
    def attend(self, attention: Any, x_NSD: Tensor, frames: Frames) -> Tensor:
        """Run ``attention`` over normalized streams."""

    @abstractmethod
    def encoded(self, width: int, device: torch.device, dtype: torch.dtype) -> Tensor | None:
        """The positions that attention reads in streams of ``width`` frames."""

    def rows(self, lengths: Sequence[int], width: int, device: torch.device, dtype: torch.dtype) -> Frames:
        return frames_of(lengths, width, device, dtype, self.encoded(width, device, dtype))

    def traced_rows(self, x_BSD: Tensor, lengths_B: Tensor) -> Frames:
        return traced_frames(x_BSD, lengths_B, self.encoded(x_BSD.size(1), x_BSD.device, x_BSD.dtype))

    def freeze(self, layer: Any) -> nn.Module:
        """Keep the statistics of batch normalization in ``layer``."""
        conv = getattr(layer, self.attributes.modules[2])
        setattr(conv, self.attributes.batch_norm, FrozenBatchNorm(getattr(conv, self.attributes.batch_norm)))
        return layer  # type: ignore[no-any-return]

    def branches(self, layer: Any) -> Branches:
        named = {}
        for name, part, norm in zip(
            MODULES["conformer"], self.attributes.modules, self.attributes.norms, strict=True
        ):
            if not hasattr(layer, part):
                continue
            module = getattr(layer, part)
            before = module.layer_norm if norm is None else getattr(layer, norm)
            attributes = (part,) if norm is None else (part, norm)
            dropout = getattr(layer, f"{name}_dropout", None)
            scale = 0.5 if name in ("ffn1", "ffn2") else 1.0
            named[name] = Branch(module, self._call(name, module), before, scale, dropout, attributes)
        return Branches(layer, named, getattr(layer, self.attributes.final_norm))

    def _call(self, name: str, module: Any) -> Call:
        if name == "self_attn":
            return lambda x_NSD, frames: self.attend(module, x_NSD, frames)
        if name == "conv":
            return lambda x_NSD, frames: convolve(
                module, getattr(module, self.attributes.batch_norm), x_NSD, frames
            )
        return lambda x_NSD, frames: module(x_NSD)


class SpeechConformer(ConformerFamily):
    """Conformer layers with relative (arXiv 1901.02860), rotary (arXiv 2104.09864) or no positions."""

    input: ClassVar[InputName] = "samples"
    dropouts = (
        ("dropout", "hidden_dropout"),
        ("ffn_dropout", "activation_dropout"),
        ("attention_dropout", "attention_dropout"),
    )
    attributes = Names(
        ("ffn1", "self_attn", "conv_module", "ffn2"),
        ("ffn1_layer_norm", "self_attn_layer_norm", None, "ffn2_layer_norm"),
        "batch_norm",
        "final_layer_norm",
    )

    def frontend(self) -> nn.Module:
        normalizes = bool(self.options.features.get("do_normalize", True))
        return SamplesFrontend(self.library, self.encoder, normalizes, False, None)

    def layer(self, number: int, shared: None) -> nn.Module:
        return self.freeze(self.library.make("EncoderLayer", self.encoder))

    def norm(self) -> nn.Module:
        return nn.LayerNorm(self.encoder.hidden_size, eps=self.encoder.layer_norm_eps)

    def attend(self, attention: Any, x_NSD: Tensor, frames: Frames) -> Tensor:
        if self.encoder.position_embeddings_type == "relative":
            a, dropout = attention, attention.dropout.p if attention.training else 0.0
            projections = a.linear_q, a.linear_k, a.linear_v, a.linear_out, a.linear_pos
            return RelativeAttention(*projections, a.pos_bias_u, a.pos_bias_v, dropout)(x_NSD, frames)
        y_NSD: Tensor = attention(x_NSD, frames.attention_mask(x_NSD), frames.positions)[0]
        return y_NSD

    def encoded(self, width: int, device: torch.device, dtype: torch.dtype) -> Tensor | None:
        if self.encoder.position_embeddings_type == "relative":
            return distances(width, self.encoder.hidden_size, device, dtype)
        if self.encoder.position_embeddings_type == "rotary":
            return self._rotations(width, device).to(dtype)
        return None

    def _rotations(self, width: int, device: torch.device) -> Tensor:
        """Cosines and sines (2, S, 1, 1, K) of the angle of each frame."""
        size = self.encoder.hidden_size // self.encoder.num_attention_heads
        rates = self.encoder.rotary_embedding_base ** (
            -torch.arange(0, size, 2, device=device).float() / size
        )
        angles_SK = torch.arange(width, device=device)[:, None] * rates.repeat(2)
        return torch.stack([angles_SK.cos(), angles_SK.sin()])[:, :, None, None]

    @classmethod
    def names(cls, configuration: Mapping[str, Any]) -> Iterable[tuple[str, str | None]]:
        prefix = "wav2vec2_conformer."
        return (
            (f"{prefix}feature_extractor.", "frontend.feature_extractor."),
            (f"{prefix}feature_projection.", "frontend.feature_projection."),
            (f"{prefix}encoder.pos_conv_embed.", None),  # the library does not use it
            (f"{prefix}encoder.embed_positions.", None),  # computed
            (f"{prefix}encoder.layer_norm.", "encoder.norm."),
            (f"{prefix}encoder.layers.", "encoder.layers."),
            (f"{prefix}masked_spec_embed", None),  # only training uses it
            ("lm_head.", "heads.shared."),
        )
