"""wav2vec 2.0 encoders of fairseq2 (arXiv 2006.11477) in the terms of `transformers`."""

from __future__ import annotations

import re
from typing import Any

from fairseq2.models.transformer import TransformerNormOrder
from fairseq2.models.wav2vec2 import Wav2Vec2EncoderConfig

from supernet.network.wav2vec2 import Wav2Vec2

UNNEEDED = ("wav2vec2.masked_spec_embed",)
"""Tensors of the library that only its training uses."""

_FRONTEND, _LAYER = r"frontend\.body\.", r"encoder\.layers\.(\d+)\."
_NAMES = (
    (rf"{_FRONTEND}feature_extractor\.layers\.(\d+)\.conv\.", r"feature_extractor.conv_layers.\1.conv."),
    (
        rf"{_FRONTEND}feature_extractor\.layers\.(\d+)\.(?:group|layer)_norm\.",
        r"feature_extractor.conv_layers.\1.layer_norm.",
    ),
    (rf"{_FRONTEND}post_extract_layer_norm\.", "feature_projection.layer_norm."),
    (rf"{_FRONTEND}model_dim_proj\.", "feature_projection.projection."),
    (
        rf"{_FRONTEND}pos_encoder\.conv\.weight_g",
        "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    ),
    (
        rf"{_FRONTEND}pos_encoder\.conv\.weight_v",
        "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
    ),
    (rf"{_FRONTEND}pos_encoder\.", "encoder.pos_conv_embed."),
    (rf"{_FRONTEND}layer_norm\.", "encoder.layer_norm."),
    (r"encoder\.norm\.", "encoder.layer_norm."),
    (rf"{_LAYER}self_attn\.output_proj\.", r"encoder.layers.\1.attention.out_proj."),
    (rf"{_LAYER}self_attn\.", r"encoder.layers.\1.attention."),
    (rf"{_LAYER}self_attn_layer_norm\.", r"encoder.layers.\1.layer_norm."),
    (rf"{_LAYER}ffn\.inner_proj\.", r"encoder.layers.\1.feed_forward.intermediate_dense."),
    (rf"{_LAYER}ffn\.output_proj\.", r"encoder.layers.\1.feed_forward.output_dense."),
    (rf"{_LAYER}ffn_layer_norm\.", r"encoder.layers.\1.final_layer_norm."),
)
"""The beginnings of the names of tensors in a network and in the library; the first that matches counts."""


def problem_of(family: Wav2Vec2) -> str | None:
    """The reason why the library has no such encoder, if there is one."""
    encoder = family.encoder
    is_after = encoder.norm_order == TransformerNormOrder.POST
    if encoder.layer_norm_features != is_after:
        wanted = "a norm before its first layer if and only if layers normalize after their branches"
        return f"{wanted}, but `layer_norm_features` is {str(encoder.layer_norm_features).lower()} instead"
    if encoder.feature_dim == encoder.model_dim:
        return f"a projection from its features to its layers, but both have dimension {encoder.model_dim}"
    return None


def configuration_of(family: Wav2Vec2) -> dict[str, Any]:
    """The configuration of an encoder as in ``config.json``."""
    encoder: Wav2Vec2EncoderConfig = family.encoder
    dims, kernels, strides = zip(*encoder.feature_extractor_layer_descs, strict=True)
    return {
        "model_type": "wav2vec2",
        "hidden_size": encoder.model_dim,
        "num_hidden_layers": encoder.num_encoder_layers,
        "num_attention_heads": encoder.num_encoder_attn_heads,
        "intermediate_size": encoder.ffn_inner_dim,
        "conv_dim": list(dims),
        "conv_kernel": list(kernels),
        "conv_stride": list(strides),
        "conv_bias": encoder.feature_extractor_bias,
        "feat_extract_norm": "layer" if encoder.feature_extractor_layer_norm_convs else "group",
        "num_conv_pos_embeddings": encoder.pos_conv_kernel_size,
        "num_conv_pos_embedding_groups": encoder.num_pos_conv_groups,
        "do_stable_layer_norm": encoder.norm_order == TransformerNormOrder.PRE,
        "hidden_dropout": encoder.dropout_p,
        "activation_dropout": encoder.ffn_inner_dropout_p,
        "attention_dropout": encoder.attn_dropout_p,
        "layerdrop": encoder.layer_drop_p,
    }


def features_of(family: Wav2Vec2) -> dict[str, Any]:
    """The settings of its feature extractor as in ``preprocessor_config.json``."""
    return {"do_normalize": family.encoder.feature_extractor_layer_norm_convs}


def original(name: str) -> str:
    """The name in the library of the tensor ``name`` of a network."""
    for pattern, replacement in _NAMES:
        if match := re.match(pattern, name):
            return f"wav2vec2.{match.expand(replacement)}{name[match.end() :]}"
    return name.replace("heads.shared.", "lm_head.")
