"""Parameters and multiply-accumulates, against hand counts and an independent counter."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from supernet.costs import macs, real_time_factor
from supernet.cut import cut, num_parameters
from supernet.frontend import num_stream_frames
from supernet.model import Recogniser
from tests.supernet import tiny
from tests.supernet.tiny import NUM_TOKENS, tiny_config

SECONDS = 0.6
FRONTEND = (2 * 9 + 2) + (2 * 2 * 9 + 2) + (2 * 19 * 16 + 16) + 2 * 16
HEAD = 16 * NUM_TOKENS + NUM_TOKENS
FFN = 16 * 32 + 32 + 32 * 16 + 16
ATTENTION = 4 * (16 * 16 + 16)
RELATIVE = 2 * 16 + 16 * 16
CONVOLUTION = 16 * 32 + 3 * 16 + 2 * 16 + 16 * 16
NORM = 2 * 16
CONFORMER = 2 * FFN + ATTENTION + RELATIVE + CONVOLUTION + 5 * NORM


def test_parameters_of_a_conformer_by_hand() -> None:
    net = Recogniser(tiny_config(), NUM_TOKENS)
    assert num_parameters(net) == FRONTEND + 4 * CONFORMER + HEAD


def test_parameters_of_a_transformer_by_hand() -> None:
    net = Recogniser(tiny_config("layer", "transformer", model={"positions": "sinusoidal"}), NUM_TOKENS)
    assert num_parameters(net) == FRONTEND + 4 * (FFN + ATTENTION + 2 * NORM) + NORM + HEAD


def test_parameters_of_a_cut_model_by_hand() -> None:
    net = Recogniser(tiny_config("module", model={"heads": "per-size"}), NUM_TOKENS)
    kept = [unit.name.endswith((".conv", "0.ffn2")) for unit in net.table.units]
    small = cut(net, net.table.subnet(kept))
    # Each branch with its norm; the four final norms belong to no unit.
    assert num_parameters(small) == FRONTEND + 4 * (CONVOLUTION + NORM) + (FFN + NORM) + 4 * NORM + HEAD


class Counter:
    """Multiply-accumulates of linear maps and convolutions, seen by hooks."""

    def __init__(self, net: nn.Module) -> None:
        self.total = 0
        for module in net.modules():
            weight = getattr(module, "weight", None)
            if isinstance(weight, Tensor) and weight.ndim >= 2:
                module.register_forward_hook(self._count)

    def _count(self, module: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> None:
        # Every output value takes one product for each weight that leads to it.
        weight = module.weight
        assert isinstance(weight, Tensor)
        self.total += y.numel() * math.prod(weight.shape[1:])


@pytest.mark.parametrize("granularity", ["layer", "module"])
@pytest.mark.parametrize(
    ("layer_type", "positions"),
    [("conformer", "relative"), ("conformer", "sinusoidal"), ("transformer", "sinusoidal")],
)
def test_multiply_accumulates_are_products_plus_attention(
    granularity: str, layer_type: str, positions: str
) -> None:
    config = tiny_config(granularity, layer_type, model={"positions": positions})  # type: ignore[arg-type]
    net = Recogniser(config, NUM_TOKENS).eval()
    full = macs(net, SECONDS)
    counter, frames = Counter(net), round(100 * SECONDS)
    net.log_probs(torch.zeros(1, frames, 80), [frames], net.table.full)
    length = num_stream_frames(frames)
    products = 2 * length * length * 16  # queries with keys, weights with values
    if positions == "relative":
        products += length * (2 * length - 1) * 16
    assert full == counter.total + 4 * products


def test_a_cut_layer_saves_exactly_its_share() -> None:
    net = Recogniser(tiny_config(), NUM_TOKENS).eval()
    by_size = [macs(cut(net, net.table.subnet(net.table.first(size))), SECONDS) for size in (1, 2, 3, 4)]
    (saved,) = {b - a for a, b in itertools.pairwise(by_size)}
    assert saved > 0
    assert by_size[3] == macs(net, SECONDS)


def test_costs_grow_with_the_audio() -> None:
    net = Recogniser(tiny_config(), NUM_TOKENS).eval()
    assert 2 * macs(net, 5.0) < macs(net) == macs(net, 10.0), "attention grows with the square"


def test_the_real_time_factor_is_a_positive_number() -> None:
    net = Recogniser(tiny_config(), NUM_TOKENS).eval()
    assert 0 < real_time_factor(net, [tiny.batch([60, 33], dtype=torch.float32)], repeats=1) < math.inf
