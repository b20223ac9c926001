"""Small checkpoints of the real wav2vec 2.0 architecture, written as fairseq2 writes its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from fairseq2.checkpoint.model_metadata import ModelMetadataDumper
from fairseq2.models.transformer import TransformerNormOrder
from fairseq2.models.wav2vec2 import (
    Wav2Vec2Config,
    Wav2Vec2EncoderConfig,
    Wav2Vec2Model,
    create_wav2vec2_model,
)
from fairseq2.runtime.dependency import get_dependency_resolver

from supernet.config import Config
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.pretrained import load_into
from supernet.runs.resolve import resolve
from supernet.text.tokens import Tokens
from tests.supernet.tiny import NUM_TOKENS

Kind = Literal["base", "large_lv60k"]
"""The published architectures that differ in more than their width, namely in normalization."""

NUM_LAYERS = 4
TOKENS = Tokens(("<blk>", *"abcde"))


def encoder_config(kind: Kind, **changes: Any) -> Wav2Vec2EncoderConfig:
    """The published configuration, except for widths and depth."""
    published = dict[str, Any]()
    if kind == "large_lv60k":
        published = {
            "layer_norm_features": False,
            "feature_extractor_bias": True,
            "feature_extractor_layer_norm_convs": True,
            "norm_order": TransformerNormOrder.PRE,
        }
    small = {
        "model_dim": 16,
        "feature_dim": 12,
        "feature_extractor_layer_descs": [(12, 10, 5), *[(12, 3, 2)] * 4, *[(12, 2, 2)] * 2],
        "pos_conv_kernel_size": 8,
        "num_pos_conv_groups": 2,
        "num_encoder_layers": NUM_LAYERS,
        "num_encoder_attn_heads": 2,
        "ffn_inner_dim": 32,
    }
    return Wav2Vec2EncoderConfig(**{**small, **published, **changes})


def model(kind: Kind, **changes: Any) -> tuple[Wav2Vec2Model, Wav2Vec2Config]:
    """A model with random weights, including those of norms."""
    config = Wav2Vec2Config(
        encoder_config=encoder_config(kind, **changes), final_dim=8, quantized_dim=8, num_codebook_entries=4
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = create_wav2vec2_model(config)
        for parameter in found.parameters():
            if parameter.ndim == 1:
                torch.nn.init.normal_(parameter, mean=0.7, std=0.3)
    return found.eval(), config


def write(folder: Path, kind: Kind, family: str = "wav2vec2", **changes: Any) -> Path:
    """Write the output of a training with fairseq2: checkpoints of two steps, of which the second is used."""
    found, config = model(kind, **changes)
    checkpoints = folder / "checkpoints"
    dumper = get_dependency_resolver().resolve(ModelMetadataDumper)  # type: ignore[type-abstract]
    dumper.dump(checkpoints, family, config)
    for step, scale in ((10, 0.5), (200, 1.0)):
        file = checkpoints / f"step_{step}" / "model" / "pp_00" / "tp_00" / "sdp_00.pt"
        file.parent.mkdir(parents=True)
        torch.save({name: tensor * scale for name, tensor in found.state_dict().items()}, file)
    return folder


def write_card(file: Path, checkpoint: str, **fields: object) -> Path:
    """Write a custom asset card."""
    card = {"name": "mine", "model_family": "wav2vec2", "checkpoint": checkpoint, **fields}
    file.write_text(yaml.safe_dump(card), encoding="utf-8")
    return file


def config(init: object, granularity: str = "layer", **model: Any) -> Config:
    """The configuration of a supernet that starts from the checkpoint ``init``."""
    sizes = (2, 4) if granularity == "layer" else (4, 8)
    settings = {"sizes": sizes, "granularity": granularity, "model": {"init": str(init), **model}}
    return resolve([{"task": {"name": "manifest", "path": "nowhere"}, **settings}]).config


def supernet(init: Path, granularity: str = "layer") -> SupernetCTC:
    """The supernet with the weights of the checkpoint, in float64 and evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)  # for the head, which the checkpoint lacks
        net = SupernetCTC(config(init, granularity), NUM_TOKENS)
    load_into(net, TOKENS, str(init))
    return net.double().eval()
