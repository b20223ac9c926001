"""A layer of the published type against the same weights in PyTorch's own modules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fairseq2.models.transformer import AttentionBiasCache
from torch import Tensor, nn

from supernet.config import ModelConfig
from supernet.network.branches import Branches, Layout, Rows
from supernet.network.layers import build_layer, named_branches
from supernet.units import MODULES
from tests.supernet.tiny import tiny_model, units_of

PUBLISHED = {"layer_type": "conformer-conv-first", "positions": "none", "convolution_bias": True}


def by_hand(layer: nn.Module, x_BSD: Tensor, num_heads: int) -> Tensor:
    """Half-step feed-forward, convolution, attention, half-step feed-forward, norm (arXiv 2407.18930)."""
    state = layer.state_dict()
    dim = x_BSD.size(-1)

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (dim,), state[f"{name}.weight"], state[f"{name}.bias"])

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, state[f"{name}.weight"].squeeze(-1), state[f"{name}.bias"])

    def half(name: str, x: Tensor) -> Tensor:
        inner = F.silu(linear(f"{name}.inner_proj", norm(f"{name}_layer_norm", x)))
        return x + 0.5 * linear(f"{name}.output_proj", inner)

    x_BSD = half("ffn1", x_BSD)
    y_BSD = F.glu(linear("conv.pointwise_conv1", norm("conv_layer_norm", x_BSD)), dim=-1)
    depthwise = state["conv.depthwise_conv.weight"], state["conv.depthwise_conv.bias"]
    y_BSD = F.conv1d(y_BSD.transpose(1, 2), *depthwise, padding="same", groups=dim).transpose(1, 2)
    x_BSD = x_BSD + linear("conv.pointwise_conv2", F.silu(norm("conv.layer_norm", y_BSD)))
    attention = nn.MultiheadAttention(dim, num_heads, batch_first=True).to(x_BSD.dtype)
    names = [f"self_attn.{name}_proj" for name in ("q", "k", "v")]
    attention.load_state_dict(
        {
            "in_proj_weight": torch.cat([state[f"{name}.weight"] for name in names]),
            "in_proj_bias": torch.cat([state[f"{name}.bias"] for name in names]),
            "out_proj.weight": state["self_attn.output_proj.weight"],
            "out_proj.bias": state["self_attn.output_proj.bias"],
        }
    )
    y_BSD = norm("self_attn_layer_norm", x_BSD)
    x_BSD = x_BSD + attention(y_BSD, y_BSD, y_BSD, need_weights=False)[0]
    return norm("layer_norm", half("ffn2", x_BSD))


def test_the_published_block_equals_pytorchs_modules_with_its_weights() -> None:
    torch.manual_seed(0)
    config = tiny_model(**PUBLISHED)
    layer: Any = build_layer(config, None).double().eval()
    x_BSD = torch.randn(2, 9, config.dim, dtype=torch.float64)
    whole = Branches(layer, named_branches(layer, MODULES["conformer-conv-first"]), layer.layer_norm).whole
    with torch.inference_mode():
        found = whole(x_BSD, Rows(Layout(x_BSD.size(1)), AttentionBiasCache()))
        expected = by_hand(layer, x_BSD, config.num_heads)
        other = Branches(layer, named_branches(layer, MODULES["conformer"]), layer.layer_norm).whole(
            x_BSD, Rows(Layout(x_BSD.size(1)), AttentionBiasCache())
        )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert (found - other).abs().max() > 1e-3  # the order matters


def test_units_are_listed_in_execution_order() -> None:
    table = units_of(1, "module", "conformer-conv-first")
    assert [unit.name for unit in table.units] == [
        "layers.0.ffn1", "layers.0.conv", "layers.0.self_attn", "layers.0.ffn2",
    ]  # fmt: skip


def test_attention_drops_weights_only_in_training() -> None:
    torch.manual_seed(0)
    config = tiny_model(**{**PUBLISHED, "attention_dropout": 0.5, "dropout": 0.0})
    layer = build_layer(config, None)
    x_BSD = torch.randn(1, 9, 16)

    def output() -> Tensor:
        attention = named_branches(layer, MODULES["conformer-conv-first"])["self_attn"]
        return attention(x_BSD, Rows(Layout(x_BSD.size(1)), AttentionBiasCache()))

    assert not torch.equal(output(), output())
    layer.eval()
    assert torch.equal(output(), output())


def test_relative_attention_has_no_dropout() -> None:
    with pytest.raises(
        ValueError, match=r"`model.attention_dropout` must be 0 with `model.positions` relative"
    ):
        ModelConfig.model_validate({"attention_dropout": 0.1})
