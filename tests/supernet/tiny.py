"""Networks and batches small enough for comparisons in every combination."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from supernet.audio.specification import NUM_BANDS
from supernet.budget import Prices
from supernet.config import Config, ModelConfig
from supernet.network.lanes import Gates, Lane
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.scorer import Context, Scores
from supernet.task import Batch
from supernet.units import LayerType, UnitTable

NUM_LAYERS = 4
NUM_TOKENS = 6


def tiny_model(**changes: Any) -> ModelConfig:
    """The configuration of a model of dimension 16."""
    small = {"dim": 16, "num_heads": 2, "ffn_dim": 32, "ffn_chunks": 2, "kernel": 3, "frontend_channels": 2}
    return ModelConfig.model_validate(
        {**small, "max_frames": 256, "start_scale": 1.0, "dropout": 0.1, **changes}
    )


def tiny_config(
    granularity: str = "layer",
    layer_type: LayerType = "conformer",
    sizes: Sequence[int] = (),
    **changes: Any,
) -> Config:
    """A configuration of four layers; the sizes are half of the units and all units by default. Its precision
    is float32 on every machine.
    """
    model = tiny_model(**{"layer_type": layer_type, "num_layers": NUM_LAYERS, **changes.pop("model", {})})
    units = len(Config(granularity=granularity, sizes=(1,), model=model).table)
    sizes = tuple(sizes) or (units // 2, units)
    changes["train"] = {"precision": "float32", **changes.get("train", {})}
    return Config.model_validate({"granularity": granularity, "sizes": sizes, "model": model, **changes})


def units_of(num_layers: int, granularity: str, layer_type: LayerType = "conformer") -> UnitTable:
    """The units of a network of default width."""
    model = ModelConfig(layer_type=layer_type, num_layers=num_layers)
    return Config(granularity=granularity, sizes=(1,), model=model).table


def gates(values: Sequence[float] | Tensor) -> Gates:
    """Gates that are identified by their values."""
    values_U = torch.as_tensor(values, dtype=torch.float64)
    return Gates(tuple(values_U.tolist()), values_U)


def recognizer(config: Config, seed: int = 0) -> SupernetCTC:
    """A randomly initialized network, norms included, in float64 and evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = SupernetCTC(config, NUM_TOKENS)
        for parameter in net.parameters():
            if parameter.ndim == 1:
                torch.nn.init.normal_(parameter, mean=0.7, std=0.3)
    return net.double().eval()


def batch(num_frames: Sequence[int], seed: int = 0, dtype: torch.dtype = torch.float64) -> Batch:
    """Random utterances, with a target of one to three tokens each."""
    rng = torch.Generator().manual_seed(seed)
    features = [torch.randn(n, NUM_BANDS, generator=rng, dtype=dtype) * 2 for n in num_frames]
    targets = [torch.randint(1, NUM_TOKENS, (1 + i % 3,), generator=rng) for i in range(len(num_frames))]
    return Batch(
        features_BTF=torch.nn.utils.rnn.pad_sequence(features, batch_first=True),
        num_frames=list(num_frames),
        targets_BL=torch.nn.utils.rnn.pad_sequence(targets, batch_first=True),
        num_targets=[len(target) for target in targets],
        ids=[f"u{i}" for i in range(len(num_frames))],
        texts=["".join(chr(96 + int(t)) for t in target) for target in targets],
    )


def context(scores: Sequence[float] | Tensor, table: UnitTable | None = None) -> Context:
    """The part of a network that methods see, with these scores; by default, units are layers."""
    scorer = Scores(len(scores))
    scorer.scores = torch.nn.Parameter(torch.as_tensor(scores))
    table = table or units_of(len(scores), "layer")
    return Context(scorer, table, {}, {"units": Prices.counting(len(scores))})


def part(whole: Batch, rows: range) -> Batch:
    """Some utterances of a batch, as a batch without needless padding."""
    frames, targets = whole.num_frames[rows.start : rows.stop], whole.num_targets[rows.start : rows.stop]
    return Batch(
        whole.features_BTF[rows.start : rows.stop, : max(frames)],
        frames,
        whole.targets_BL[rows.start : rows.stop, : max(targets)],
        targets,
        whole.ids[rows.start : rows.stop],
        whole.texts[rows.start : rows.stop],
    )


def run_lanes(net: SupernetCTC, data: Batch, lanes: Sequence[Lane]) -> list[dict[int, Tensor]]:
    """The readings of ``lanes``; by position (rows, S, D)."""
    x_BSD, lengths = net.embed(data.features_BTF, data.num_frames)
    return net._encode(x_BSD, lengths, lanes)


def output(net: SupernetCTC, data: Batch, lane: Lane) -> Tensor:
    """The final output of one lane, zero in the padding, whose values are arbitrary."""
    (reading,) = run_lanes(net, data, [lane])
    return valid(net, data, lane, reading[FINAL])


def valid(net: SupernetCTC, data: Batch, lane: Lane, x_NSD: Tensor) -> Tensor:
    """``x_NSD`` of the lane's rows with zeros where padded."""
    lengths = net.embed(data.features_BTF, data.num_frames)[1]
    keep = torch.tensor([[s < lengths[row] for s in range(x_NSD.size(1))] for row in lane.rows])
    return x_NSD.masked_fill(~keep[..., None], 0.0)


def gradients(net: SupernetCTC, loss: Tensor) -> dict[str, Tensor]:
    """The gradient of every parameter, zero where there is none."""
    names, parameters = zip(*net.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    pairs = zip(names, parameters, found, strict=True)
    return {name: torch.zeros_like(p) if g is None else g for name, p, g in pairs}
