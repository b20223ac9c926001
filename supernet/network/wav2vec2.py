"""fairseq2's wav2vec 2.0 encoders (arXiv 2006.11477): a frontend that reads samples, and Transformer layers.

Shapes: B utterances, T samples, S stream frames, D model dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch.nn.functional as F
from fairseq2.models.transformer import TransformerNormOrder
from fairseq2.models.wav2vec2 import Wav2Vec2EncoderConfig, Wav2Vec2EncoderFactory
from fairseq2.nn import BatchLayout, StandardLayerNorm
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from torch import Tensor, nn

from supernet.audio.features import SAMPLES
from supernet.config import ModelConfig
from supernet.encoder_family import Decided, EncoderFamily
from supernet.network.branches import Branches
from supernet.network.builtin import modules_of
from supernet.network.frontend import SeparateFrontend
from supernet.network.layers import named_branches
from supernet.network.traced_samples import convolved
from supernet.network.tracing import mask
from supernet.network.wav2vec2_checkpoint import CONFIGURATION, configuration_of, tokens_of, weights_of
from supernet.text.tokens import Tokens
from supernet.units import MODULES, Module

_MEANINGLESS = ("layer_type", "kernel", "convolution_bias", "positions", "frontend_channels", "start_scale")
"""Settings that apply only to networks with random initial weights."""


_EPSILON = 1e-5
"""The constant that PyTorch's normalization adds to the variance."""


class Wav2Vec2Options(BaseModel):
    """A wav2vec 2.0 encoder."""

    model_config = ConfigDict(extra="forbid")
    configuration: dict[str, Any] = Field(
        default_factory=dict,
        description="The encoder's configuration in fairseq2's format; filled in from `model.init`.",
    )

    @field_validator("configuration")
    @classmethod
    def _check(cls, configuration: dict[str, Any]) -> dict[str, Any]:
        try:
            CONFIGURATION.validate_python(configuration)
        except ValidationError:
            raise ValueError(
                "`model.encoder.configuration` must describe a wav2vec 2.0 encoder in fairseq2's format, but "
                "does not"
            ) from None
        return configuration


class Wav2Vec2(EncoderFamily[Wav2Vec2Options]):
    """The published architecture of any width and depth, initialized from a checkpoint."""

    Options = Wav2Vec2Options
    input = "samples"
    pretrains = True
    exports = True

    @cached_property
    def encoder(self) -> Wav2Vec2EncoderConfig:
        """The encoder's configuration, with the dropout of this run."""
        return replace(
            CONFIGURATION.validate_python(self.options.configuration),
            dropout_p=self.config.dropout,
            ffn_inner_dropout_p=self.config.ffn_dropout,
            attn_dropout_p=self.config.attention_dropout,
        )

    @property
    def _normalizes_after(self) -> bool:
        return self.encoder.norm_order == TransformerNormOrder.POST

    @property
    def modules(self) -> tuple[Module, ...]:
        return modules_of(MODULES["transformer"], self.config)

    @property
    def drops_modules(self) -> bool:
        return not self._normalizes_after

    def problems(self) -> list[str]:
        if self.config.init is None and not self.options.configuration:
            return ["`model.init` must be set with `model.encoder` 'wav2vec2', but is not"]
        return []

    def frontend(self) -> nn.Module:
        return Wav2Vec2Frontend(self.encoder)

    def traced_stream(self, frontend: Any, x: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        return frontend.traced(x, lengths_B)  # type: ignore[no-any-return]

    def layer(self, number: int, shared: None) -> nn.Module:
        encoder = replace(self.encoder, num_encoder_layers=1)
        layer: nn.Module = Wav2Vec2EncoderFactory(encoder).create_encoder().layers[0]
        return layer

    def branches(self, layer: nn.Module) -> Branches:
        order = MODULES["transformer"]
        if not self._normalizes_after:
            return Branches(layer, named_branches(layer, order))
        after = {name: getattr(layer, f"{name}_layer_norm") for name in order}
        return Branches(layer, named_branches(layer, order, normalize=False), None, after)

    def norm(self) -> nn.Module:
        """Build the norm of readings: the identity if layers normalize after their branches."""
        return nn.Identity() if self._normalizes_after else StandardLayerNorm(self.config.dim, bias=True)

    @classmethod
    def decide(cls, init: str, known: Mapping[str, Any] | None) -> Decided:
        encoder = configuration_of(init, None if known is None else known.get("configuration"))
        settings = {name: ModelConfig.model_fields[name].default for name in _MEANINGLESS} | {
            "layer_type": "transformer",
            "num_layers": encoder["num_encoder_layers"],
            "dim": encoder["model_dim"],
            "num_heads": encoder["num_encoder_attn_heads"],
            "ffn_dim": encoder["ffn_inner_dim"],
        }
        dropout = {
            "dropout": encoder["dropout_p"],
            "ffn_dropout": encoder["ffn_inner_dropout_p"],
            "attention_dropout": encoder["attn_dropout_p"],
        }
        return Decided({"configuration": encoder}, settings, dropout)

    @classmethod
    def weights(cls, init: str) -> Mapping[str, Tensor]:
        return weights_of(init)

    @classmethod
    def tokens(cls, init: str) -> Tokens | None:
        return tokens_of(init)


class Wav2Vec2Frontend(SeparateFrontend):
    """Convolutions over the samples, one frame per 320 samples, and convolutional positions."""

    def __init__(self, encoder: Wav2Vec2EncoderConfig) -> None:
        super().__init__()
        self.body = Wav2Vec2EncoderFactory(encoder).create_encoder_frontend()
        # Checkpoints do not record it: fairseq trained one kind on normalized samples, the other on
        # unnormalized ones (fairseq issue 4687).
        self.normalizes = encoder.feature_extractor_layer_norm_convs

    def forward(self, samples_T: Tensor, hidden_T: Tensor | None = None) -> Tensor:
        """The stream ``(S, D)`` of one utterance; masked samples become 0 after normalization."""
        if self.normalizes:
            samples_T = F.layer_norm(samples_T, samples_T.shape)
        if hidden_T is not None:
            samples_T = samples_T.masked_fill(hidden_T, 0.0)
        x_1T = F.pad(samples_T, (0, max(0, SAMPLES.shortest - len(samples_T))))[None]
        x_1SD, _ = self.body(x_1T, BatchLayout.of(x_1T))
        row_SD: Tensor = x_1SD[0]
        return row_SD

    def __getstate__(self) -> dict[str, Any]:
        """For copies, which cannot have the normalized weight that the last call computed with gradients."""
        convolution: Any = self.body.pos_encoder.conv  # type: ignore[union-attr]
        convolution.weight = convolution.weight.detach()
        return self.__dict__

    def traced(self, samples_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Run on padded rows in a graph, see ``EncoderFamily.traced_stream``; positions see zeros in the
        padding.
        """
        epsilon = _EPSILON if self.normalizes else None
        layers: Any = self.body.feature_extractor
        x_BCT, lengths_B = convolved(layers.layers, "group_norm", samples_BT, lengths_B, epsilon)
        x_BSD = self.body.post_extract_layer_norm(x_BCT.transpose(1, 2))
        if self.body.model_dim_proj is not None:
            x_BSD = self.body.model_dim_proj(x_BSD)
        positions: Any = self.body.pos_encoder
        x_BDS = positions.conv(x_BSD.masked_fill(~mask(x_BSD, lengths_B)[..., None], 0.0).transpose(1, 2))
        x_BDS = positions.activation(x_BDS[..., :-1] if positions.remove_pad else x_BDS)
        x_BSD = x_BSD + x_BDS.transpose(1, 2)
        return x_BSD if self.body.layer_norm is None else self.body.layer_norm(x_BSD), lengths_B
