"""The parts of fairseq2's wav2vec 2.0 encoders (arXiv 2006.11477): the frontend that reads samples, and the
layers, which are its Transformer layers.

Shapes: B utterances, T samples, S stream frames, D model dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from fairseq2.models.transformer import TransformerNormOrder
from fairseq2.models.wav2vec2 import Wav2Vec2EncoderConfig, Wav2Vec2EncoderFactory
from fairseq2.nn import BatchLayout
from pydantic import TypeAdapter
from torch import Tensor, nn

from supernet.audio.features import SAMPLES
from supernet.config import ModelConfig

_ADAPTER = TypeAdapter(Wav2Vec2EncoderConfig)


def as_data(encoder: Wav2Vec2EncoderConfig) -> dict[str, Any]:
    """What `model.wav2vec2` holds."""
    data: dict[str, Any] = _ADAPTER.dump_python(encoder, mode="json")
    return data


def from_data(data: Mapping[str, Any]) -> Wav2Vec2EncoderConfig:
    """The same again. Raises ``ValueError`` where it is something else."""
    return _ADAPTER.validate_python(data)


def normalizes_behind(data: Mapping[str, Any]) -> bool:
    """Whether the layers normalize behind each branch instead of before."""
    return from_data(data).norm_order == TransformerNormOrder.POST


def wav2vec2_layer(config: ModelConfig) -> nn.Module:
    """A Transformer layer as the pretrained ones."""
    encoder = replace(_encoder(config), num_encoder_layers=1)
    layer: nn.Module = Wav2Vec2EncoderFactory(encoder).create_encoder().layers[0]
    return layer


def _encoder(config: ModelConfig) -> Wav2Vec2EncoderConfig:
    """The encoder, with the dropout of this run."""
    assert config.wav2vec2 is not None
    return replace(
        from_data(config.wav2vec2),
        dropout_p=config.dropout,
        ffn_inner_dropout_p=config.ffn_dropout,
        attn_dropout_p=config.attention_dropout,
    )


class Wav2Vec2Frontend(nn.Module):
    """Convolutions over the samples, 320 of which become a frame, and convolutional positions.

    Every utterance runs alone: group normalization sees all frames, and with others beside it an utterance
    would hear their padding.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        encoder = _encoder(config)
        self.body = Wav2Vec2EncoderFactory(encoder).create_encoder_frontend()
        # Not said by checkpoints: fairseq trains one kind on normalized samples, the other on samples as they
        # are (its issue 4687).
        self._normalizes = encoder.feature_extractor_layer_norm_convs

    def embed(
        self, samples_BT1: Tensor, num_samples: Sequence[int], hidden_BT1: Tensor | None = None
    ) -> Tensor:
        """The stream ``(B, S, D)`` of utterances of so many samples, some of which training hides."""
        hidden = [None] * len(samples_BT1) if hidden_BT1 is None else hidden_BT1
        rows = [
            self(row_T1[:n, 0], None if hidden_T1 is None else hidden_T1[:n, 0])
            for row_T1, n, hidden_T1 in zip(samples_BT1, num_samples, hidden, strict=True)
        ]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def forward(self, samples_T: Tensor, hidden_T: Tensor | None = None) -> Tensor:
        """The stream ``(S, D)`` of one utterance; hidden samples become 0 once they are normalized."""
        if self._normalizes:
            samples_T = F.layer_norm(samples_T, samples_T.shape)
        if hidden_T is not None:
            samples_T = samples_T.masked_fill(hidden_T, 0.0)
        x_1T = F.pad(samples_T, (0, max(0, SAMPLES.shortest - len(samples_T))))[None]
        x_1SD, _ = self.body(x_1T, BatchLayout.of(x_1T))
        row_SD: Tensor = x_1SD[0]
        return row_SD


def is_supported(encoder: Wav2Vec2EncoderConfig) -> bool:
    """Whether it is the published architecture, in any width and depth."""
    strides = tuple((kernel, stride) for _, kernel, stride in encoder.feature_extractor_layer_descs)
    return (
        not (encoder.use_fbank or encoder.use_conformer)
        and encoder.pos_encoder_type == "conv"
        and encoder.pos_encoder_depth == 1
        and strides == SAMPLES.convolutions
        and encoder.norm_order in (TransformerNormOrder.PRE, TransformerNormOrder.POST)
    )
