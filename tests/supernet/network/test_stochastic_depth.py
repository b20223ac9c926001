"""Survivors of stochastic depth: each residual branch is scaled, but not the norm after it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fairseq2.models.transformer import AttentionBiasCache
from torch import Tensor

from supernet.network.branches import Layout, Rows
from supernet.network.lanes import Lane
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.network.wav2vec2 import Wav2Vec2, Wav2Vec2Options
from supernet.network.wav2vec2_checkpoint import CONFIGURATION
from supernet.units import MODULES, LayerType
from tests.supernet import encoders, tiny
from tests.supernet.encoders import Kind
from tests.supernet.network.test_laws import ALL, FRAMES, assert_equal, exact_attention
from tests.supernet.tiny import output, recognizer, run_lanes, tiny_config, tiny_model

__all__ = ["exact_attention"]  # a fixture used here, too


def survivors(rows: range, unit: int, width: int, scale: float) -> Lane:
    """All rows survive ``width`` units from ``unit`` on, which are scaled as if some rows were dropped."""
    units = range(unit, unit + width)
    scales = dict.fromkeys(units, scale)
    return Lane(rows, (True,) * 4 * width, None, dict.fromkeys(units, frozenset[int]()), scales)


@pytest.mark.parametrize("layer_type", list(MODULES))
@pytest.mark.parametrize("layer", range(4))
def test_a_surviving_layer_scales_each_of_its_branches(layer_type: LayerType, layer: int) -> None:
    """Both granularities describe the same network, so scaling a layer equals scaling all of its modules."""
    layers, modules = (recognizer(tiny_config(g, layer_type)) for g in ("layer", "module"))
    modules.load_state_dict({**modules.state_dict(), **shared_state(layers)}, strict=True)
    data, width = tiny.batch(FRAMES), len(modules.table) // 4
    whole = output(layers, data, survivors(ALL, layer, 1, 1.5))
    assert_equal(whole, output(modules, data, survivors(ALL, layer * width, width, 1.5)))
    assert not torch.allclose(whole, output(layers, data, Lane(ALL, layers.table.full)))


def shared_state(net: SupernetCTC) -> dict[str, Tensor]:
    return {
        name: value for name, value in net.state_dict().items() if name.startswith(("frontend", "encoder"))
    }


@pytest.mark.parametrize("granularity", ["layer", "module"])
def test_the_output_of_a_scaled_conformer_layer_is_normalized(granularity: str) -> None:
    """The scale does not apply to the block's final norm, so the head's inputs keep their magnitude."""
    net = recognizer(tiny_config(granularity))
    last, width = net.encoder.layers["3"], len(net.table) // 4
    torch.nn.init.ones_(last.layer_norm.weight)  # type: ignore[union-attr,arg-type]
    torch.nn.init.zeros_(last.layer_norm.bias)  # type: ignore[union-attr,arg-type]
    data = tiny.batch([60, 60])
    (reading,) = run_lanes(net, data, [survivors(range(2), 3 * width, width, 1 / 0.3)])
    assert_equal(reading[FINAL].mean(-1), torch.zeros(2, 14, dtype=torch.float64))
    variance = reading[FINAL].var(-1, unbiased=False)
    torch.testing.assert_close(variance, torch.ones_like(variance), atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", ["base", "large_lv60k"])
@torch.no_grad()
def test_a_surviving_layer_scales_its_branches_before_normalizing(
    kind: Kind,
) -> None:
    layer: Any = encoders.model(kind)[0].double().encoder.layers[1]
    x, scale = torch.randn(2, 9, 16, dtype=torch.float64), torch.tensor([1.5, 3.0], dtype=torch.float64)
    context, s = Rows(Layout(x.size(1)), AttentionBiasCache()), scale[:, None, None]
    layout, cache, _ = context
    attention, ffn = layer.self_attn, layer.ffn

    def attend(y: Tensor) -> Tensor:
        return attention(y, layout, keys=y, keys_layout=layout, values=y, bias_cache=cache)  # type: ignore[no-any-return]

    if kind == "base":
        expected = layer.self_attn_layer_norm(x + s * attend(x))
        expected = layer.ffn_layer_norm(expected + s * ffn(expected))
    else:
        expected = x + s * attend(layer.self_attn_layer_norm(x))
        expected = expected + s * ffn(layer.ffn_layer_norm(expected))
    data = CONFIGURATION.dump_python(encoders.encoder_config(kind), mode="json")
    branches = Wav2Vec2(Wav2Vec2Options(configuration=data), tiny_model()).branches(layer)
    assert_equal(branches.whole(x, context, s), expected)
    assert_equal(branches.whole(x, context), layer(x, layout, cache))
