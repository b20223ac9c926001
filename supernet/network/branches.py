"""A layer as residual branches, each of which can be run, gated, skipped, and cut away separately.

Shapes: N rows, S frames, D model dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from fairseq2.models.transformer import AttentionBiasCache, IdentityBias
from torch import Tensor, nn

from supernet.network.walk import Running
from supernet.system.devices import sent

if TYPE_CHECKING:
    from supernet.network.parts import Division

Call = Callable[[Tensor, Any], Tensor]
"""The computation of a module on its normalized input (N, S, D) and the context of its rows."""


class Layout:
    """The parts of fairseq2's `BatchLayout` that layers use; that class writes positions row by row."""

    packed = False

    def __init__(self, width: int, lengths_N: Tensor | None = None) -> None:
        """
        Args:
            width: The frames of the streams, S.
            lengths_N: The valid frames of each row. None: all.
        """
        self.width = self.max_seq_len = width
        self.padded = lengths_N is not None
        if lengths_N is not None:
            self.positions_S = torch.arange(width, device=lengths_N.device)
            self.seq_lens_pt, self.is_padding_NS = lengths_N, self.positions_S >= lengths_N[:, None]

    @property
    def position_indices(self) -> Tensor:
        """The position (N, S) of each valid frame, -1 where padded."""
        return torch.where(self.is_padding_NS, -1, self.positions_S)


class Chunks(Protocol):
    """The chunks in which a streaming network reads the rows in a call."""

    attends: bool
    """Whether ``attend`` computes attention. If not, the cache of the rows has a bias for each query."""

    def attend(self, attention: Any, x_NSD: Tensor, /) -> Tensor:
        """Run a self-attention."""

    def convolve(self, x_NSD: Tensor, weight_D1K: Tensor, bias_D: Tensor | None, /) -> Tensor:
        """Convolve each channel over time, without anything after a frame's chunk."""


class Rows(NamedTuple):
    """The context of the rows in a call, for fairseq2 modules. A cache belongs to one choice of rows."""

    layout: Layout
    cache: AttentionBiasCache
    chunks: Chunks | None = None
    """None: every frame sees all frames."""


def rows_of(lengths: Sequence[int], width: int, device: torch.device, dtype: torch.dtype) -> Rows:
    """The layout and cache of rows of these lengths in streams of ``width`` frames."""
    if min(lengths) == width:
        return Rows(Layout(width), AttentionBiasCache())
    return padded_rows(Layout(width, sent(torch.tensor(lengths), device)), -torch.inf, dtype)


def padded_rows(layout: Layout, masked: float, dtype: torch.dtype) -> Rows:
    """The context of padded rows, whose attention to padding is biased by ``masked``."""
    cache, is_padding_NS = AttentionBiasCache(), layout.is_padding_NS
    # Broadcasts over heads and queries; the engine's own is (N, S, S), made row by row.
    bias_NS = torch.zeros_like(is_padding_NS, dtype=dtype).masked_fill(is_padding_NS, masked)
    cache.set(IdentityBias(), "tensor", bias_NS[:, None, None, :])
    return Rows(layout, cache)


@dataclass(frozen=True)
class Branch:
    """The residual branch of a module: ``dropout(scale * call(norm(x)))``, to be added to x."""

    module: nn.Module
    call: Call
    norm: nn.Module | None = None
    """None: the module reads the stream as it is."""
    scale: float = 1.0
    dropout: nn.Module | None = None
    attributes: tuple[str, ...] = ()
    """The layer's attributes that serve only this branch; removed when it is cut away."""
    division: Division | None = None
    """The division of the module into parts. None: it cannot be divided."""

    def __call__(self, x_NSD: Tensor, context: Any) -> Tensor:
        y_NSD = self.call(x_NSD if self.norm is None else self.norm(x_NSD), context)
        if self.scale != 1.0:
            y_NSD = y_NSD * self.scale
        return y_NSD if self.dropout is None else self.dropout(y_NSD)

    @property
    def numel_of_parts(self) -> int | None:
        """The number of parameters that are divided among the parts of the module. None: not known."""
        return None if self.division is None else self.division.numel(self.module)


@dataclass(frozen=True)
class Branches:
    """The named residual branches of a layer, ``x + branch(x)`` each, and its final norm."""

    layer: nn.Module
    named: Mapping[str, Branch]
    """The branches that the layer still has, in execution order."""
    norm: nn.Module | None = None
    """The final norm, which belongs to no branch."""
    norm_after: Mapping[str, nn.Module] = field(default_factory=dict)
    """The norm after each branch, in layers that normalize after their branches."""

    def whole(self, x_NSD: Tensor, context: Any, scale_N11: Tensor | None = None) -> Tensor:
        """The whole layer, with every branch multiplied by ``scale_N11``."""
        for name, branch in self.named.items():
            y_NSD = branch(x_NSD, context)
            x_NSD = x_NSD + (y_NSD if scale_N11 is None else scale_N11 * y_NSD)
            if name in self.norm_after:
                x_NSD = self.norm_after[name](x_NSD)
        return x_NSD if self.norm is None else self.norm(x_NSD)

    def weights(self, name: str | None) -> list[nn.Parameter]:
        """The parameters that serve only the branch ``name``; for None, those of the whole layer."""
        if name is None:
            return list(self.layer.parameters())
        parts = (getattr(self.layer, attribute) for attribute in self.named[name].attributes)
        return [parameter for part in parts if part is not None for parameter in part.parameters()]

    def remove(self, name: str) -> None:
        """Remove the branch ``name`` from the layer."""
        for attribute in self.named[name].attributes:
            delattr(self.layer, attribute)


@dataclass(frozen=True)
class Interpolated:
    """The body of a unit that is a whole layer: ``lerp(x, layer(x), gate)``.

    Survivors of stochastic depth are scaled inside, branch by branch, so that the output of the layer's final
    norm stays normalized.
    """

    layer: Branches

    def __call__(self, x_NSD: Tensor, context: Any, running: Running) -> Tensor:
        y_NSD = self.layer.whole(x_NSD, context, running.scale)
        if (gate_N11 := running.gate) is None:
            return y_NSD
        return torch.lerp(x_NSD, y_NSD.to(x_NSD.dtype), gate_N11.to(x_NSD.dtype))


@dataclass(frozen=True)
class Residual:
    """The body of a unit that is a branch: ``x + gate * scale * branch(x)``."""

    branch: Branch

    def __call__(self, x_NSD: Tensor, context: Any, running: Running) -> Tensor:
        y_NSD = self.branch(x_NSD, context)
        for factor_N11 in (running.scale, running.gate):
            y_NSD = y_NSD if factor_N11 is None else factor_N11 * y_NSD
        return x_NSD + y_NSD
