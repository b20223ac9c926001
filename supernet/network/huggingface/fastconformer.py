"""FastConformer (arXiv 2305.05084), the encoder of Parakeet, as in `transformers`, with its own features.

Shapes: B utterances, T samples or feature frames, C channels, F mel bands, N rows, S stream frames,
D model dimension.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from supernet.network.huggingface.conformer import ConformerFamily, Names
from supernet.network.huggingface.frames import Frames, RelativeAttention, distances
from supernet.network.huggingface.library import Library
from supernet.network.huggingface.mel import MelFeatures
from supernet.network.tracing import mask


class FastConformer(ConformerFamily):
    """Conformer layers with relative positions, one frame every 80 ms."""

    input = "samples-80ms"
    dropouts = (
        ("dropout", "dropout"),
        ("ffn_dropout", "activation_dropout"),
        ("attention_dropout", "attention_dropout"),
    )
    attributes = Names(
        ("feed_forward1", "self_attn", "conv", "feed_forward2"),
        ("norm_feed_forward1", "norm_self_att", "norm_conv", "norm_feed_forward2"),
        "norm",
        "norm_out",
    )

    def problems(self) -> list[str]:
        if found := super().problems():
            return found
        bands = self.encoder.num_mel_bins
        if (given := self.options.features.get("feature_size", bands)) != bands:
            wanted = f"a `feature_size` of {bands}, as the encoder's `num_mel_bins`"
            return [f"the features must have {wanted}, but have {given} instead"]
        return []

    @classmethod
    def described(cls, configuration: Mapping[str, Any]) -> Any:
        return Library(str(configuration.get("model_type"))).configuration(configuration, "EncoderConfig")

    def frontend(self) -> nn.Module:
        return MelFrontend(self.library, self.encoder, self.options.features)

    def layer(self, number: int, shared: None) -> nn.Module:
        layer = self.library.make("EncoderBlock", self.encoder, number)
        if not getattr(self.encoder, "convolution_bias", True):  # a setting of later releases of the library
            for name in ("pointwise_conv1", "depthwise_conv", "pointwise_conv2"):
                getattr(layer.conv, name).bias = None
        return self.freeze(layer)

    def attend(self, attention: Any, x_NSD: Tensor, frames: Frames) -> Tensor:
        a, dropout = attention, attention.attention_dropout if attention.training else 0.0
        projections = a.q_proj, a.k_proj, a.v_proj, a.o_proj, a.relative_k_proj
        return RelativeAttention(*projections, a.bias_u, a.bias_v, dropout)(x_NSD, frames)

    def encoded(self, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        return distances(width, self.encoder.hidden_size, device, dtype)

    @classmethod
    def names(cls, configuration: Mapping[str, Any]) -> Iterable[tuple[str, str | None]]:
        return (
            ("encoder.subsampling.", "frontend.subsampling."),
            ("encoder.layers.", "encoder.layers."),
            ("ctc_head.", "heads.shared."),
        )


class MelFrontend(nn.Module):
    """Log-mel features, and convolutions that subsample them by 8. Every utterance runs separately."""

    def __init__(self, library: Library, config: Any, features: Mapping[str, Any]) -> None:
        super().__init__()
        self.features = MelFeatures(features)
        self.subsampling = library.make("EncoderSubsamplingConv2D", config)
        self._scale = math.sqrt(config.hidden_size) if config.scale_input else 1.0
        self.dropout = nn.Dropout(config.dropout)

    def embed(
        self, samples_BT1: Tensor, num_samples: Sequence[int], hidden_BT1: Tensor | None = None
    ) -> Tensor:
        """Compute the stream ``(B, S, D)``; training may mask some samples."""
        if hidden_BT1 is not None:
            samples_BT1 = samples_BT1.masked_fill(hidden_BT1, 0.0)
        rows = [self(row_T1[:n, 0]) for row_T1, n in zip(samples_BT1, num_samples, strict=True)]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def forward(self, samples_T: Tensor) -> Tensor:
        """The stream ``(S, D)`` of one utterance."""
        x_1SD: Tensor = self.subsampling(self.features(samples_T)[None])
        row_SD: Tensor = self.dropout(x_1SD * self._scale)[0]
        return row_SD

    def traced(self, features_BFT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Run the convolutions on the normalized features of padded rows in a graph, see
        ``EncoderFamily.traced_stream``.
        """
        lengths_B = lengths_B.clamp(max=features_BFT.size(2))
        x_BCTF = features_BFT.transpose(1, 2)[:, None]
        for layer in self.subsampling.layers:
            if isinstance(layer, nn.Conv2d) and layer.stride != (1, 1):
                # The library multiplies by the mask, which XNNPACK computes wrongly (ExecuTorch 1.0.1).
                x_BCTF = x_BCTF.masked_fill(~mask(x_BCTF[:, 0], lengths_B)[:, None, :, None], 0.0)
                lengths_B = (lengths_B - 1) // layer.stride[0] + 1
            x_BCTF = layer(x_BCTF)
        x_BSD: Tensor = self.subsampling.linear(x_BCTF.transpose(1, 2).flatten(2))
        return x_BSD * self._scale, lengths_B
