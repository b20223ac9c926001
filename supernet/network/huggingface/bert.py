"""The encoder of w2v-BERT 2.0 (arXiv 2312.05187) as in `transformers`, on log-mel features made from samples.

Shapes: T samples, F mel bands, N rows, S stream frames, D model dimension, H heads, K features of a head, P
distances.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.compliance import kaldi

from supernet.audio.features import SAMPLES_20MS
from supernet.audio.specification import NUM_BANDS, SHIFT, WINDOW
from supernet.network.branches import Call
from supernet.network.depthwise import depthwise
from supernet.network.frontend import SeparateFrontend
from supernet.network.huggingface.conformer import SpeechConformer
from supernet.network.huggingface.filter_bank import FilterBank
from supernet.network.huggingface.frames import Frames, joined
from supernet.network.huggingface.library import Library
from supernet.network.tracing import mask

STACKED = 2
"""Feature frames in a stream frame."""
_EPSILON = 1e-7


class SpeechBert(SpeechConformer):
    """Conformer layers with causal convolutions, and attention biased by the clipped distance of frames."""

    input = "samples-20ms"

    def frontend(self) -> nn.Module:
        return FilterBankFrontend(self.library, self.encoder)

    def layer(self, number: int, shared: None) -> nn.Module:
        layer: nn.Module = self.library.make("EncoderLayer", self.encoder)
        return layer

    def norm(self) -> nn.Module:
        return nn.Identity()

    def encoded(self, width: int, device: torch.device, dtype: torch.dtype) -> Tensor | None:
        if self.encoder.position_embeddings_type != "relative_key":
            return super().encoded(width, device, dtype)
        frames_S, left = torch.arange(width, device=device), self.encoder.left_max_position_embeddings
        distances_SS = frames_S[None] - frames_S[:, None]
        clipped_SS: Tensor = distances_SS.clamp(-left, self.encoder.right_max_position_embeddings) + left
        return clipped_SS

    def attend(self, attention: Any, x_NSD: Tensor, frames: Frames) -> Tensor:
        if self.encoder.position_embeddings_type != "relative_key":
            return super().attend(attention, x_NSD, frames)
        projections = (attention.linear_q, attention.linear_k, attention.linear_v)
        q_NHSK, k_NHSK, v_NHSK = (
            project(x_NSD).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for project in projections
        )
        assert frames.positions is not None
        bias_NHSP = q_NHSK @ attention.distance_embedding.weight.T / math.sqrt(attention.head_size)
        index_NHSS = frames.positions.expand(*bias_NHSP.shape[:2], -1, -1)
        bias_NHSS = bias_NHSP.gather(-1, index_NHSS)
        if frames.bias_N11S is not None:
            bias_NHSS = bias_NHSS + frames.bias_N11S
        dropout = attention.dropout.p if attention.training else 0.0
        y_NHSK = F.scaled_dot_product_attention(q_NHSK, k_NHSK, v_NHSK, bias_NHSS, dropout)
        return attention.linear_out(joined(y_NHSK))  # type: ignore[no-any-return]

    def _call(self, name: str, module: Any) -> Call:
        if name == "conv":
            return lambda x_NSD, frames: _convolve_causally(module, x_NSD, frames)
        return super()._call(name, module)

    @classmethod
    def names(cls, configuration: Mapping[str, Any]) -> Iterable[tuple[str, str | None]]:
        prefix = "wav2vec2_bert."
        return (
            (f"{prefix}feature_projection.", "frontend.feature_projection."),
            (f"{prefix}encoder.embed_positions.", None),  # computed
            (f"{prefix}encoder.layers.", "encoder.layers."),
            (f"{prefix}masked_spec_embed", None),  # only training uses it
            ("lm_head.", "heads.shared."),
        )


def _convolve_causally(conv: Any, x_NSD: Tensor, frames: Frames) -> Tensor:
    """Run the convolution ``conv``, whose frames see earlier ones only."""
    if frames.padding_NS1 is not None:
        x_NSD = x_NSD.masked_fill(frames.padding_NS1, 0.0)
    y_NDS, middle = F.glu(conv.pointwise_conv1(x_NSD.transpose(1, 2)), dim=1), conv.depthwise_conv
    y_NDS = F.pad(y_NDS, (middle.kernel_size[0] - 1, 0))
    y_NSD = depthwise(y_NDS.transpose(1, 2), middle.weight, middle.bias, padding=0)
    y_NSD = conv.activation(conv.depthwise_layer_norm(y_NSD))
    return conv.dropout(conv.pointwise_conv2(y_NSD.transpose(1, 2))).transpose(1, 2)  # type: ignore[no-any-return]


class FilterBankFrontend(SeparateFrontend):
    """Kaldi's log-mel features, normalized per band and utterance; two frames side by side are projected."""

    def __init__(self, library: Library, config: Any) -> None:
        super().__init__()
        self.feature_projection = library.make("FeatureProjection", config)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self._filter_bank = FilterBank()

    def forward(self, samples_T: Tensor, hidden_T: Tensor | None = None) -> Tensor:
        """The stream ``(S, D)`` of one utterance; masked samples become 0."""
        if hidden_T is not None:
            samples_T = samples_T.masked_fill(hidden_T, 0.0)
        samples_T = F.pad(samples_T, (0, max(0, SAMPLES_20MS.shortest - len(samples_T))))
        # In double precision, as the library, and on the scale of 16-bit integers.
        features_SF = kaldi.fbank(samples_T.double()[None] * 2**15, num_mel_bins=NUM_BANDS)
        deviation_F = torch.sqrt(features_SF.var(0) + _EPSILON)
        features_SF = ((features_SF - features_SF.mean(0)) / deviation_F).to(samples_T.dtype)
        stacked_SF = (
            features_SF[: len(features_SF) // STACKED * STACKED].unflatten(0, (-1, STACKED)).flatten(1)
        )
        row_SD: Tensor = self.dropout(self.feature_projection(stacked_SF)[0])
        return row_SD

    def traced(self, samples_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Run on padded rows in a graph, see ``EncoderFamily.traced_stream``.

        As bands are normalized, neither the scale nor the mean of the samples matters.
        """
        lengths_B = lengths_B.clamp(max=samples_BT.size(1))
        samples_BT = samples_BT.masked_fill(~mask(samples_BT, lengths_B), 0.0)
        features_BSF = self._filter_bank(F.pad(samples_BT.double(), (0, SAMPLES_20MS.shortest)) * 2**15)
        lengths_B = (lengths_B.clamp(min=SAMPLES_20MS.shortest) - WINDOW) // SHIFT + 1
        valid_BS1, count_B11 = mask(features_BSF, lengths_B)[..., None], lengths_B[:, None, None]
        mean_B1F = features_BSF.masked_fill(~valid_BS1, 0.0).sum(1, keepdim=True) / count_B11
        centered_BSF = (features_BSF - mean_B1F).masked_fill(~valid_BS1, 0.0)
        variance_B1F = centered_BSF.square().sum(1, keepdim=True) / (count_B11 - 1)
        features_BSF = (centered_BSF / torch.sqrt(variance_B1F + _EPSILON)).to(samples_BT.dtype)
        stacked_BSF = features_BSF.unfold(1, STACKED, STACKED).transpose(2, 3).flatten(2)
        x_BSD: Tensor = self.feature_projection(stacked_BSF)[0]
        return x_BSD, lengths_B // STACKED
