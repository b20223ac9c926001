"""An example of an encoder family: layers that mix each frame with its neighbors, and a frontend without
convolutions.

Shapes: B utterances, T feature frames, F mel bands, S stream frames, D model dimension, N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from supernet.audio.features import LOG_MEL
from supernet.audio.specification import NUM_BANDS
from supernet.config import Section
from supernet.encoder_family import EncoderFamily
from supernet.network.branches import Branch, Branches, Call
from supernet.network.frontend import normalize
from supernet.system.devices import sent
from supernet.units import Module


class NeighborsOptions(Section):
    reach: int = Field(default=1, ge=1)
    """The number of frames that a layer sees on each side."""


class Neighbors(EncoderFamily[NeighborsOptions]):
    """An encoder of such layers. The context of rows is a mask (N, S, 1), 0 in padding."""

    Options = NeighborsOptions
    exports = True

    @property
    def modules(self) -> tuple[Module, ...]:
        return Module("mix", "mixing"), Module("mlp", "feed-forward", self.config.ffn_dim)

    def frontend(self) -> nn.Module:
        return Windows(self.config.dim)

    def layer(self, number: int, shared: None) -> nn.Module:
        return Layer(self.config.dim, self.config.ffn_dim, self.options.reach)

    def branches(self, layer: Any) -> Branches:
        found = {}
        for name in ("mix", "mlp"):
            if hasattr(layer, name):
                module, norm = getattr(layer, name), getattr(layer, f"{name}_norm")
                call = layer.mixed if name == "mix" else alone(module)
                found[name] = Branch(module, call, norm, attributes=(name, f"{name}_norm"))
        return Branches(layer, found)

    def norm(self) -> nn.Module:
        return nn.LayerNorm(self.config.dim)

    def rows(self, lengths: Sequence[int], width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        ends_N1 = sent(torch.tensor(lengths), device)[:, None]
        return (torch.arange(width, device=device)[None] < ends_N1).to(dtype)[..., None]

    def traced_rows(self, x_BSD: Tensor, lengths_B: Tensor) -> Tensor:
        return (torch.arange(x_BSD.size(1))[None] < lengths_B[:, None]).to(x_BSD.dtype)[..., None]


def alone(module: nn.Module) -> Call:
    """The call of a ``module`` that sees every frame separately."""
    return lambda x_NSD, mask_NS1: module(x_NSD)


class Windows(nn.Module):
    """Each stream frame is a projection of seven feature frames; these windows are four frames apart."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(7 * NUM_BANDS, dim)

    def embed(
        self, features_BTF: Tensor, num_frames: Sequence[int], hidden_BTF: Tensor | None = None
    ) -> Tensor:
        ends_B1 = sent(torch.tensor(num_frames), features_BTF.device)[:, None]
        mask_BT = torch.arange(features_BTF.size(1), device=features_BTF.device)[None] < ends_B1
        return self(features_BTF, mask_BT, hidden_BTF)  # type: ignore[no-any-return]

    def forward(self, features_BTF: Tensor, mask_BT: Tensor, hidden_BTF: Tensor | None = None) -> Tensor:
        x_BTF = normalize(features_BTF, mask_BT)
        if hidden_BTF is not None:
            x_BTF = x_BTF.masked_fill(hidden_BTF, 0.0)
        if x_BTF.size(1) < LOG_MEL.shortest:
            x_BTF = nn.functional.pad(x_BTF, (0, 0, 0, LOG_MEL.shortest - x_BTF.size(1)))
        return self.projection(x_BTF.unfold(1, 7, 4).flatten(2))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Two residual branches, one of which sees the neighbors of a frame."""

    def __init__(self, dim: int, inner_dim: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.mix_norm, self.mlp_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mix = nn.Linear((2 * reach + 1) * dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, inner_dim), nn.GELU(), nn.Linear(inner_dim, dim))

    def mixed(self, x_NSD: Tensor, mask_NS1: Tensor) -> Tensor:
        """Project each frame together with its neighbors, which are 0 outside of the utterance."""
        x_NSD = nn.functional.pad(x_NSD * mask_NS1, (0, 0, self.reach, self.reach))
        return self.mix(x_NSD.unfold(1, 2 * self.reach + 1, 1).flatten(2))  # type: ignore[no-any-return]
