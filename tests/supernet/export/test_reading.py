"""A cut model can be used without this project, with safetensors, JSON and PyTorch.

The Conformer below is an independent implementation, written from the description alone.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from tests.supernet.export.test_graph import small_cut

Weights = dict[str, Tensor]


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"].squeeze(-1), w.get(f"{name}.bias"))


def norm(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def frontend(w: Weights, x_TF: Tensor) -> Tensor:
    x_TF = (x_TF - x_TF.mean(0)) / x_TF.std(0, correction=0).clamp(min=0.5)
    x = x_TF[None, None]
    for name in ("frontend.conv1", "frontend.conv2"):
        x = torch.relu(F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=2))
    return norm(w, "frontend.norm", linear(w, "frontend.projection", x[0].transpose(0, 1).flatten(1)))


def feed_forward(w: Weights, name: str, x_SD: Tensor) -> Tensor:
    inner = F.silu(linear(w, f"{name}.inner_proj", norm(w, f"{name}_layer_norm", x_SD)))
    return 0.5 * linear(w, f"{name}.output_proj", inner)


def attention(w: Weights, name: str, x_SD: Tensor, num_heads: int) -> Tensor:
    """Attention of Transformer-XL: content and distance terms, each with a learned bias of the query."""
    x_SD = norm(w, f"{name}_layer_norm", x_SD)
    num_frames, dim = x_SD.shape
    q, k, v = (linear(w, f"{name}.{part}_proj", x_SD).view(num_frames, num_heads, -1) for part in "qkv")
    distance = torch.arange(num_frames)[:, None] - torch.arange(num_frames)[None]
    angles = distance[..., None] * torch.exp(torch.arange(0, dim, 2) * -math.log(10_000.0) / dim)
    encoded = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(2)
    r = linear(w, f"{name}.sdpa.r_proj", encoded).view(num_frames, num_frames, num_heads, -1)
    content = torch.einsum("qhd,khd->hqk", q + w[f"{name}.sdpa.u_bias"], k)
    position = torch.einsum("qhd,qkhd->hqk", q + w[f"{name}.sdpa.v_bias"], r)
    weights = ((content + position) / math.sqrt(dim / num_heads)).softmax(-1)
    return linear(w, f"{name}.output_proj", torch.einsum("hqk,khd->qhd", weights, v).flatten(1))


def convolution(w: Weights, name: str, x_SD: Tensor) -> Tensor:
    x = F.glu(linear(w, f"{name}.pointwise_conv1", norm(w, f"{name}_layer_norm", x_SD)), dim=-1)
    kernel = w[f"{name}.depthwise_conv.weight"]
    x = F.conv1d(x.T[None], kernel, padding="same", groups=len(kernel))[0].T
    return linear(w, f"{name}.pointwise_conv2", F.silu(norm(w, f"{name}.layer_norm", x)))


def recognize(folder: Path, features_TF: Tensor) -> Tensor:
    """Compute log-probabilities (S, V)."""
    about: dict[str, Any] = json.loads((folder / "model.json").read_text())
    w = load_file(folder / "model.safetensors")
    x = frontend(w, features_TF)
    for layer in range(about["num_layers"]):
        at = f"encoder.layers.{layer}"
        if at.removeprefix("encoder.") not in about["kept"]:
            continue
        x = x + feed_forward(w, f"{at}.ffn1", x)
        x = x + attention(w, f"{at}.self_attn", x, about["model"]["num_heads"])
        x = x + convolution(w, f"{at}.conv", x)
        x = x + feed_forward(w, f"{at}.ffn2", x)
        x = norm(w, f"{at}.layer_norm", x)
    return linear(w, "heads.shared", x).log_softmax(-1)


@pytest.mark.parametrize("num_frames", [7, 90])
def test_an_independent_implementation_computes_the_same(num_frames: int, tmp_path: Path) -> None:
    cut = small_cut(positions="relative")
    cut.save(tmp_path)
    features = torch.randn(num_frames, 80, generator=torch.Generator().manual_seed(0)) * 3 - 8
    model = cut.model.recognizer
    with torch.inference_mode():
        expected = model.log_probs(features[None], [num_frames], model.table.full)[0]
    torch.testing.assert_close(recognize(tmp_path, features), expected, atol=1e-5, rtol=0)


def test_the_description_contains_tokens_units_and_features(tmp_path: Path) -> None:
    cut = small_cut()
    cut.save(tmp_path)
    about = json.loads((tmp_path / "model.json").read_text())
    assert about["tokens"] == {"kind": "characters", "symbols": list(cut.model.tokens.symbols)}
    assert about["kept"] == ["layers.0", "layers.2"]
    assert about["provenance"] == cut.provenance
    features = about["features"]
    assert (features["sample_rate"], features["num_bands"], features["high_freq"]) == (16_000, 80, -400)
    assert features["snip_edges"] is False
