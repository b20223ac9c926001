"""Components: heads and chunks run, gated, and cut as parts of one dense module."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fairseq2.models.transformer import AttentionBiasCache
from fairseq2.nn import BatchLayout

from supernet.config import Config, ModelConfig
from supernet.errors import UserError
from supernet.network.cutting import cut
from supernet.network.lanes import Lane
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.unit_prices import unit_parameters
from supernet.runs.checkpoint_model import open_checkpoint
from supernet.units import Kept
from tests.supernet import tiny
from tests.supernet.network.test_laws import FRAMES, assert_equal, exact_attention
from tests.supernet.pretrained import folders
from tests.supernet.tiny import output, recognizer, run_lanes, tiny_config

__all__ = ["exact_attention"]  # a fixture used here, too

ALL = range(len(FRAMES))


def one_layer(**model: Any) -> SupernetCTC:
    return recognizer(
        tiny_config(
            "component", sizes=(1,), model={"num_layers": 1, "num_heads": 4, "ffn_chunks": 4, **model}
        )
    )


def only(net: SupernetCTC, *names: str) -> Kept:
    """The subnet of the units of the first layer with these names."""
    assert {f"layers.0.{name}" for name in names} <= {*net.table.position}
    return tuple(unit.name.removeprefix("layers.0.") in names for unit in net.table.units)


def test_a_layer_of_six_heads_and_two_feed_forwards_has_fifteen_units() -> None:
    config = Config(granularity="component", sizes=(15,), model=ModelConfig(dim=96, num_heads=6))
    names = [unit.name for unit in config.table.units]
    parts = [[f"{name}.{i}" for i in range(n)] for name, n in (("ffn1", 4), ("self_attn", 6), ("ffn2", 4))]
    assert names == [f"layers.0.{name}" for name in (*parts[0], *parts[1], "conv", *parts[2])]


def test_all_components_together_equal_the_plain_network() -> None:
    net = recognizer(tiny_config("component"))
    plain = recognizer(tiny_config("module"))
    shared = ("frontend.", "encoder.", "heads.")
    plain.load_state_dict({n: x for n, x in net.state_dict().items() if n.startswith(shared)}, strict=False)
    expected = output(plain, tiny.batch(FRAMES), Lane(ALL, plain.table.full))
    for gates in (None, tiny.gates([1.0] * len(net.table))):
        assert_equal(output(net, tiny.batch(FRAMES), Lane(ALL, net.table.full, gates)), expected)


def test_a_chunk_is_its_rows_and_columns_and_its_share_of_the_bias() -> None:
    """By hand: two of four chunks, of which the second is gated."""
    net = one_layer()
    layer: Any = net.encoder.layers["0"]
    x = tiny.run_lanes(net, tiny.batch([60]), [Lane(range(1), net.table.full)])[0][-1]
    ffn, units = layer.ffn1, only(net, "ffn1.1", "ffn1.3")
    gates = tiny.gates([0.0, 1.0, 0.0, 0.25, *[1.0] * (len(net.table) - 4)])
    walked = run_lanes(net, tiny.batch([60]), [Lane(range(1), units, gates)])[0][-1]
    stream, _ = net.embed(tiny.batch([60]).features_BTF, [60])
    y = layer.ffn1_layer_norm(stream)
    expected = torch.zeros_like(x)
    for chunk, gate in ((slice(8, 16), 1.0), (slice(24, 32), 0.25)):
        inner = F.silu(F.linear(y, ffn.inner_proj.weight[chunk], ffn.inner_proj.bias[chunk]))
        expected += gate * F.linear(inner, ffn.output_proj.weight[:, chunk], ffn.output_proj.bias / 4)
    assert_equal(walked, layer.layer_norm(stream + 0.5 * expected))


@pytest.mark.parametrize("positions", ["relative", "none"])
def test_heads_add_up_to_the_attention_and_each_is_one_for_the_engine(positions: str) -> None:
    net, data = one_layer(positions=positions), tiny.batch([60])
    names = [f"self_attn.{i}" for i in range(4)]
    smalls: list[Any] = [cut(net, net.table.subnet(only(net, name))) for name in names]
    whole: Any = net.encoder.layers["0"]
    norm, whole.layer_norm = whole.self_attn_layer_norm, torch.nn.Identity()
    stream, _ = net.embed(data.features_BTF, [60])

    def branch(*names: str) -> torch.Tensor:
        return run_lanes(net, data, [Lane(range(1), only(net, *names))])[0][-1] - stream

    assert_equal(torch.stack([branch(name) for name in names]).sum(0), branch(*names))
    y, layout, cache = norm(stream), BatchLayout.of(stream), AttentionBiasCache()
    for name, small in zip(names, smalls, strict=True):
        attention = small.encoder.layers["0"].self_attn
        assert attention.q_proj.weight.shape == (4, 16)
        assert attention.output_proj.weight.shape == (16, 4)
        assert_equal(attention(y, layout, y, layout, y, cache), branch(name))


def test_a_subnet_of_a_cut_model_equals_that_of_the_supernet() -> None:
    net, data = one_layer(), tiny.batch(FRAMES)
    small = cut(net, net.table.subnet(only(net, "ffn1.0", "ffn1.2", "ffn1.3", "self_attn.1", "self_attn.2")))
    names = "layers.0.ffn1.2", "layers.0.ffn1.3", "layers.0.self_attn.2"
    kept = tuple(unit.name in names for unit in small.table.units)
    same = tuple(unit.name in names for unit in net.table.units)
    expected = net.log_probs(data.features_BTF, data.num_frames, same)
    assert_equal(small.log_probs(data.features_BTF, data.num_frames, kept), expected)


@pytest.mark.parametrize("unit", ["ffn1.1", "self_attn.3", "conv"])
@torch.no_grad()
def test_the_weights_of_a_unit_are_those_that_only_it_reads(unit: str) -> None:
    net, data, name = one_layer(), tiny.batch([60]), f"layers.0.{unit}"
    place = net.table.position[name]
    weights = net.context.weights[name]
    assert sum(weight.numel() for weight in weights) == unit_parameters(net).units[place]
    without, full = tuple(i != place for i in range(len(net.table))), net.table.full
    expected = output(net, data, Lane(range(1), without))
    for weight in weights:
        before = weight.clone()
        weight.fill_(math.nan)
        assert_equal(output(net, data, Lane(range(1), without)), expected)
        assert output(net, data, Lane(range(1), full)).isnan().any()
        weight.copy_(before)


def widths(net: SupernetCTC, lanes: list[Lane]) -> dict[str, list[tuple[int, int]]]:
    """The rows and features of each product with the output projection of a module."""
    seen, linear = defaultdict[str, list[tuple[int, int]]](list), F.linear
    layer: Any = net.encoder.layers["0"]
    names = {id(layer.ffn1.output_proj.weight): "ffn1", id(layer.self_attn.output_proj.weight): "self_attn"}

    def spied(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        base = weight._base if weight._base is not None else weight
        if id(base) in names:
            seen[names[id(base)]].append((x.size(0), weight.size(1)))
        return linear(x, weight, bias)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "linear", spied)
        run_lanes(net, tiny.batch(FRAMES), lanes)
    return dict(seen)


def test_rows_with_different_parts_run_in_one_call_without_the_parts_that_no_row_runs() -> None:
    net = one_layer()
    lanes = [
        Lane(range(1), only(net, "ffn1.0", "self_attn.1")),
        Lane(range(1, 3), only(net, "ffn1.1", "self_attn.2")),
        Lane(range(3, 4), only(net, "conv")),
    ]
    assert widths(net, lanes) == {"ffn1": [(3, 16)], "self_attn": [(3, 8)]}


def test_an_encoder_whose_modules_cannot_be_divided_has_no_components(tmp_path: Path) -> None:
    folders.write(tmp_path, folders.VARIANTS["parakeet"])
    with pytest.raises(UserError, match=r"must be 'layer' or 'module'.* 'hf-fastconformer'"):
        open_checkpoint(tmp_path, "component")
