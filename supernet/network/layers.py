"""Encoder layers built from fairseq2's modules, and adapters that run their residual branches separately.

fairseq2's blocks run only as a whole. A supernet must run, gate, or skip each residual branch, so the
adapters compose the blocks' public submodules. Shapes: N rows, T or S frames, D model dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from fairseq2.device import CPU
from fairseq2.gang import create_fake_gangs
from fairseq2.models.conformer import ConformerBlock, ConformerConvolution
from fairseq2.models.transformer import (
    IdentityBias,
    StandardFeedForwardNetwork,
    StandardMultiheadAttention,
    StandardTransformerEncoderLayer,
    TransformerNormOrder,
)
from fairseq2.models.transformer.sdpa.base import SDPA
from fairseq2.models.transformer.sdpa.relative import RelativePositionalEncoding, RelativePositionSDPA
from fairseq2.models.transformer.sdpa.torch import TorchSDPA
from fairseq2.nn import StandardLayerNorm
from torch import Tensor, nn

from supernet.config import ModelConfig
from supernet.network.attention import attend_relative
from supernet.network.branches import Branch, Rows
from supernet.network.depthwise import depthwise
from supernet.network.parts import Division, Run

_PROJECTIONS = ("q_proj", "k_proj", "v_proj")
HEADS = {f"{name}.{weight}": 0 for name in _PROJECTIONS for weight in ("weight", "bias")} | {
    "output_proj.weight": 1
}
"""The weights of an attention that are divided among its heads, each with the axis along which it is."""
POSITIONS = {"sdpa.u_bias": 0, "sdpa.v_bias": 0, "sdpa.r_proj.weight": 0}
"""Those of relative positions."""
CHUNKS = {"inner_proj.weight": 0, "inner_proj.bias": 0, "output_proj.weight": 1}
"""The weights of a feed-forward that are divided among chunks of its inner features."""


def build_layer(config: ModelConfig, relative: nn.Module | None) -> nn.Module:
    """A layer of type ``config.layer_type``; all layers share one table of positions."""
    attention = _attention(config, relative)
    if config.layer_type != "transformer":
        return _conformer(config, attention)
    return _transformer(config, attention)


def named_branches(layer: Any, order: Sequence[str], normalize: bool = True) -> dict[str, Branch]:
    """The branches that ``layer`` still has, in ``order``; with ``normalize``, each normalizes its input."""
    return {name: _branch(layer, name, normalize) for name in order if hasattr(layer, name)}


def _branch(layer: Any, name: str, normalize: bool) -> Branch:
    module, run = getattr(layer, name), RUN.get(name, _run_feed_forward)
    attributes = (name, f"{name}_layer_norm", f"{name}_dropout")
    return Branch(
        module,
        partial(run, module),
        getattr(layer, attributes[1]) if normalize else None,
        0.5 if name in ("ffn1", "ffn2") else 1.0,
        getattr(layer, attributes[2], None),
        tuple(attribute for attribute in attributes if hasattr(layer, attribute)),
        _division(module, run),
    )


def _division(module: nn.Module, run: Run) -> Division | None:
    match module:
        case StandardFeedForwardNetwork():
            return Division(run, CHUNKS)
        case StandardMultiheadAttention(sdpa=RelativePositionSDPA()):
            return Division(run, HEADS | POSITIONS, ("num_heads", "num_key_value_heads", "sdpa.num_heads"))
        case StandardMultiheadAttention():
            return Division(run, HEADS, ("num_heads", "num_key_value_heads"))
    return None


def attend(attention: StandardMultiheadAttention, x_NSD: Tensor, rows: Rows) -> Tensor:
    """Run ``attention`` over the streams themselves, in our own way where there is a cheaper one."""
    if rows.chunks is not None and rows.chunks.attends:
        return rows.chunks.attend(attention, x_NSD)
    if isinstance(getattr(attention.sdpa, "pos_encoding", None), RelativePositionalEncoding):
        return attend_relative(attention, x_NSD, rows)
    layout: Any = rows.layout
    return attention(x_NSD, layout, keys=x_NSD, keys_layout=layout, values=x_NSD, bias_cache=rows.cache)


def convolve(conv: ConformerConvolution, x_NTD: Tensor, rows: Rows) -> Tensor:
    """Run ``conv`` in memory layout (N, T, D) throughout; on a CPU, twice as fast as its own ``forward``."""
    first, middle, last = conv.pointwise_conv1, conv.depthwise_conv, conv.pointwise_conv2
    y_NTD = F.glu(F.linear(x_NTD, first.weight[..., 0], first.bias), dim=-1)
    if rows.layout.padded:  # after the bias, which would make padding nonzero
        y_NTD = y_NTD.masked_fill(rows.layout.is_padding_NS[..., None], 0.0)
    over_time = depthwise if rows.chunks is None else rows.chunks.convolve
    y_NTD = over_time(y_NTD, middle.weight, middle.bias)
    assert conv.layer_norm is not None
    y_NTD = conv.depthwise_activation(conv.layer_norm(y_NTD))
    return F.linear(y_NTD, last.weight[..., 0], last.bias)


def _run_feed_forward(ffn: nn.Module, x_NSD: Tensor, rows: Rows) -> Tensor:
    return ffn(x_NSD)  # type: ignore[no-any-return]


RUN: dict[str, Run] = {
    "self_attn": attend,
    "conv": convolve,
}
"""The computations of modules that are not feed-forwards."""


def _conformer(c: ModelConfig, attention: StandardMultiheadAttention) -> ConformerBlock:
    conv = ConformerConvolution(c.dim, c.kernel, norm_type="layer_norm")
    if c.convolution_bias:
        _add_biases(conv)
    ffn1, ffn2 = (_feed_forward(c, nn.SiLU()) for _ in range(2))
    _scale_start(c, ffn1.output_proj, attention.output_proj, conv.pointwise_conv2, ffn2.output_proj)
    norms = [StandardLayerNorm(c.dim, bias=True) for _ in range(5)]
    return ConformerBlock(
        norms[0], ffn1, norms[1], attention, norms[2], conv, norms[3], ffn2, norms[4], dropout_p=c.dropout
    )


def _add_biases(conv: ConformerConvolution) -> None:
    """Replace the convolutions by PyTorch's own with biases, initialized by default; fairseq2's have none."""
    for name in ("pointwise_conv1", "depthwise_conv", "pointwise_conv2"):
        old: nn.Conv1d = getattr(conv, name)
        sizes = old.in_channels, old.out_channels, old.kernel_size[0]
        setattr(conv, name, nn.Conv1d(*sizes, padding="same", groups=old.groups))


def _transformer(c: ModelConfig, attention: StandardMultiheadAttention) -> StandardTransformerEncoderLayer:
    ffn = _feed_forward(c, nn.ReLU())
    _scale_start(c, attention.output_proj, ffn.output_proj)
    return StandardTransformerEncoderLayer(
        attention,
        StandardLayerNorm(c.dim, bias=True),
        ffn,
        StandardLayerNorm(c.dim, bias=True),
        norm_order=TransformerNormOrder.PRE,
        dropout_p=c.dropout,
    )


def _feed_forward(c: ModelConfig, activation: nn.Module) -> StandardFeedForwardNetwork:
    return StandardFeedForwardNetwork(
        c.dim,
        c.ffn_dim,
        bias=True,
        inner_activation=activation,
        inner_dropout_p=c.ffn_dropout,
        **_place(),
    )


def _attention(c: ModelConfig, relative: nn.Module | None) -> StandardMultiheadAttention:
    sdpa: SDPA
    if relative is not None:
        table: Any = relative
        sdpa = RelativePositionSDPA(c.dim, c.num_heads, table, IdentityBias())
    else:
        sdpa = TorchSDPA(IdentityBias(), dropout_p=c.attention_dropout)
    return StandardMultiheadAttention(c.dim, c.num_heads, sdpa, **_place())


def _place() -> dict[str, Any]:
    """The arguments of a module whose tensors are whole, and made where PyTorch makes them.

    Given none, the engine finds them in the configuration of its library, all of which it imports for that:
    two seconds that recognition does not need.
    """
    device = torch.get_default_device()
    real = CPU if device.type == "meta" else device  # processes stand on real ones
    return {"gangs": create_fake_gangs(real), "device": device}


@torch.no_grad()
def _scale_start(c: ModelConfig, *projections: nn.Module) -> None:
    """Scale down the initial outputs of the branches; otherwise deep CTC networks on little data stay on the
    blank plateau.
    """
    for projection in projections:
        for parameter in projection.parameters():
            parameter.mul_(c.start_scale)
