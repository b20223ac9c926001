"""The built-in encoders: Conformers and Transformers on log-mel features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from fairseq2.models.transformer.sdpa.relative import RelativePositionalEncoding
from fairseq2.nn import SinusoidalPositionEncoder, StandardLayerNorm
from torch import Tensor, nn

from supernet.audio.features import INPUTS, InputName
from supernet.encoder_family import EncoderFamily
from supernet.model_config import ModelConfig
from supernet.network.branches import Branches, Layout
from supernet.network.frontend import Frontend
from supernet.network.layers import build_layer, named_branches
from supernet.network.options import NoOptions
from supernet.network.streaming.frontend import StreamingFrontend
from supernet.network.tracing import trace
from supernet.units import MODULES, Module

KINDS = {"self_attn": "attention", "conv": "convolution"}
"""The kinds of modules that are not feed-forwards."""


class BuiltIn(EncoderFamily[NoOptions]):
    """Layers of the type `model.layer_type` after two or three convolutions over log-mel features."""

    Options = NoOptions
    exports = True
    streams = True

    @property
    def input(self) -> InputName:  # type: ignore[override]  # here it is a setting
        return "log-mel" if self.config.subsampling == 4 else "log-mel-80ms"

    @property
    def modules(self) -> tuple[Module, ...]:
        return modules_of(MODULES[self.config.layer_type], self.config)

    @property
    def max_frames(self) -> int:
        return self.config.max_frames

    def problems(self) -> list[str]:
        c = self.config
        if c.streaming and c.positions == "sinusoidal":
            return [
                "`model.positions` must be relative or none with `model.streaming`, but is sinusoidal instead"
            ]
        if c.attention_dropout and c.positions == "relative" and c.init is None:
            return [
                "`model.attention_dropout` must be 0 with `model.positions` relative, "
                f"but is {c.attention_dropout:g} instead"
            ]
        return []

    def frontend(self) -> nn.Module:
        c = self.config
        kind = StreamingFrontend if c.streaming else Frontend
        return kind(c.frontend_channels, c.dim, c.dropout, INPUTS[self.input])

    def positions(self) -> nn.Module | None:
        c = self.config
        return _table(Sinusoids, c.dim, c.max_frames) if c.positions == "sinusoidal" else None

    def shared(self) -> nn.Module | None:
        c = self.config
        return _table(RelativePositionalEncoding, c.dim, c.max_frames) if c.positions == "relative" else None

    def layer(self, number: int, shared: nn.Module | None) -> nn.Module:
        return build_layer(self.config, shared)

    def branches(self, layer: Any) -> Branches:
        norm = layer.layer_norm if self.config.layer_type != "transformer" else None
        return Branches(layer, named_branches(layer, MODULES[self.config.layer_type]), norm)

    def norm(self) -> nn.Module:
        is_normalized = self.config.layer_type != "transformer"
        return nn.Identity() if is_normalized else StandardLayerNorm(self.config.dim, bias=True)

    def trace(self, encoder: nn.Module) -> None:
        trace(encoder)


def modules_of(names: tuple[str, ...], config: ModelConfig) -> tuple[Module, ...]:
    """The modules of a layer that consists of attention, convolutions, and feed-forwards."""
    heads, chunks = config.num_heads, config.ffn_chunks
    parts = {"attention": (heads, heads), "feed-forward": (config.ffn_dim, chunks)}
    kinds = {name: KINDS.get(name, "feed-forward") for name in names}
    return tuple(Module(name, kind, *parts.get(kind, ())) for name, kind in kinds.items())


def _table(kind: Callable[[int, int], nn.Module], dim: int, max_frames: int) -> nn.Module:
    """A table of positions; a stand-in where tensors have no values, as saved models have no table either.

    There, computing a table would import PyTorch's compiler, which takes a second.
    """
    return nn.Identity() if torch.get_default_device().type == "meta" else kind(dim, max_frames)


class Sinusoids(nn.Module):
    """Sinusoidal positions, added to streams whose rows all start at position 0."""

    def __init__(self, dim: int, max_frames: int) -> None:
        super().__init__()
        self.table = SinusoidalPositionEncoder(dim, max_frames)

    def forward(self, x_BSD: Tensor) -> Tensor:
        layout: Any = Layout(x_BSD.size(1))
        return self.table(x_BSD, layout)
