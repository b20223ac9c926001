"""Attention with relative positions is the engine's, in values and gradients, however it is divided."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fairseq2.models.transformer.sdpa.relative import RelativePositionalEncoding
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from supernet.network import attention as module
from supernet.network.attention import attend_relative
from supernet.network.branches import Rows, rows_of
from supernet.network.layers import build_layer
from tests.supernet.network.test_laws import assert_equal, exact_attention
from tests.supernet.tiny import tiny_model

__all__ = ["exact_attention"]  # a fixture that holds here, too

DIM, HEADS, LONGEST = 24, 3, 600
DIVISIONS = {
    "as is": {},
    "head by head": {"CACHED": 1},
    "a few queries": {"WHOLE": 4, "QUERIES": 3},
    "one query of one head": {"WHOLE": 1, "QUERIES": 1, "CACHED": 1},
}
Attend = Callable[[Any, Tensor, Rows], Tensor]


def attention(dtype: torch.dtype = torch.float64) -> Any:
    """A self-attention with biases that do something."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = tiny_model(dim=DIM, num_heads=HEADS, max_frames=LONGEST)
        layer: Any = build_layer(config, RelativePositionalEncoding(DIM, LONGEST))
        for parameter in layer.self_attn.parameters():
            if parameter.ndim == 1:
                nn.init.normal_(parameter)
    return layer.self_attn.to(dtype)


def engine(attention: Any, x_NSD: Tensor, rows: Rows) -> Tensor:
    layout, cache, _ = rows
    return attention(x_NSD, layout, keys=x_NSD, keys_layout=layout, values=x_NSD, bias_cache=cache)  # type: ignore[no-any-return]


def streams(lengths: list[int], dtype: torch.dtype = torch.float64) -> Tensor:
    rng = torch.Generator().manual_seed(len(lengths))
    return torch.randn(len(lengths), max(lengths), DIM, generator=rng, dtype=dtype)


def run(attend: Attend, lengths: list[int]) -> dict[str, Tensor]:
    """The valid frames of the output, and the gradients of a loss of these by name."""
    net, x_NSD = attention(), streams(lengths).requires_grad_()
    y_NSD = attend(net, x_NSD, rows_of(lengths, x_NSD.size(1), x_NSD.device, x_NSD.dtype))
    parts = [y_SD[:n] for y_SD, n in zip(y_NSD, lengths, strict=True)]
    weights = torch.randn(sum(lengths), DIM, generator=torch.Generator().manual_seed(1), dtype=y_NSD.dtype)
    found = {"output": torch.cat(parts)}
    names, tensors = zip(("input", x_NSD), *net.named_parameters(), strict=True)
    gradients = torch.autograd.grad((found["output"] * weights).sum(), tensors)
    return found | dict(zip(names, gradients, strict=True))


@pytest.mark.parametrize("division", DIVISIONS.values(), ids=list(DIVISIONS))
@pytest.mark.parametrize("lengths", [[1], [2], [9], [1, 1], [7, 7, 7], [12, 5, 1, 11]])
def test_outputs_and_gradients_are_the_engines(
    lengths: list[int], division: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in division.items():
        monkeypatch.setattr(module, name, value)
    expected, actual = run(engine, lengths), run(attend_relative, lengths)
    assert {"input", "q_proj.weight", "sdpa.u_bias", "sdpa.v_bias", "sdpa.r_proj.weight"} < set(expected)
    for name in expected:
        assert_equal(actual[name], expected[name])


@pytest.mark.parametrize("lengths", [[256], [257], [550, 300]])
def test_long_streams_are_the_engines(lengths: list[int]) -> None:
    expected, actual = run(engine, lengths), run(attend_relative, lengths)
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name], atol=1e-11, rtol=1e-11)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 5), st.integers(1, 3000))
def test_without_gradients_the_output_is_the_same(lengths: list[int], queries: int, cached: int) -> None:
    net, x_NSD = attention(), streams(lengths)
    rows = rows_of(lengths, x_NSD.size(1), x_NSD.device, x_NSD.dtype)
    whole = attend_relative(net, x_NSD, rows)
    with pytest.MonkeyPatch.context() as changed, torch.no_grad():
        changed.setattr(module, "WHOLE", 10)
        changed.setattr(module, "QUERIES", queries)
        changed.setattr(module, "CACHED", cached)
        divided = attend_relative(net, x_NSD, rows)
    assert whole.requires_grad
    for row, n in enumerate(lengths):
        assert_equal(divided[row, :n], whole[row, :n])


def test_single_precision_is_the_engines_up_to_rounding() -> None:
    net, lengths = attention(torch.float32), [300, 120]
    x_NSD = streams(lengths, torch.float32)
    rows = rows_of(lengths, x_NSD.size(1), x_NSD.device, x_NSD.dtype)
    expected, actual = engine(net, x_NSD, rows), attend_relative(net, x_NSD, rows)
    for row, n in enumerate(lengths):
        torch.testing.assert_close(actual[row, :n], expected[row, :n], atol=1e-5, rtol=1e-5)
