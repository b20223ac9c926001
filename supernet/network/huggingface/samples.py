"""The frontend of encoders that read samples, as `transformers` has it: convolutions, and positions.

Shapes: B utterances, T samples, S stream frames, D model dimension.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import remove_parametrizations

from supernet.audio.features import SAMPLES
from supernet.network.frontend import SeparateFrontend
from supernet.network.huggingface.frames import FrozenBatchNorm
from supernet.network.huggingface.library import Library
from supernet.network.traced_samples import convolved
from supernet.network.tracing import mask

_EPSILON = 1e-7
"""The constant that the library's feature extractor adds to the variance."""


class SamplesFrontend(SeparateFrontend):
    """Convolutions over the samples, one frame per 320 samples, and convolutional positions if there are any.

    Args:
        library: The classes of the model.
        config: Its configuration.
        normalizes: Whether samples are normalized to mean 0 and variance 1.
        has_positions: Whether positions are added.
        norm: The norm of the stream before the first layer, if there is one.
    """

    def __init__(
        self, library: Library, config: Any, normalizes: bool, has_positions: bool, norm: nn.Module | None
    ) -> None:
        super().__init__()
        self.normalizes = normalizes
        self.feature_extractor = library.make("FeatureEncoder", config)
        self.feature_projection = library.make("FeatureProjection", config)
        positions: Any = library.make("PositionalConvEmbedding", config) if has_positions else None
        if getattr(positions, "batch_norm", None) is not None:
            positions.batch_norm = FrozenBatchNorm(positions.batch_norm)
        elif positions is not None:  # saved as one tensor, which need not be made for every utterance
            remove_parametrizations(positions.conv, "weight")
        self.pos_conv_embed = positions
        self.layer_norm = norm
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, samples_T: Tensor, hidden_T: Tensor | None = None) -> Tensor:
        """The stream ``(S, D)`` of one utterance; masked samples become 0 after normalization."""
        if self.normalizes:
            deviation = torch.sqrt(samples_T.var(correction=0) + _EPSILON)
            samples_T = (samples_T - samples_T.mean()) / deviation
        if hidden_T is not None:
            samples_T = samples_T.masked_fill(hidden_T, 0.0)
        x_1CT = F.pad(samples_T, (0, max(0, SAMPLES.shortest - len(samples_T))))[None, None]
        for layer in self.feature_extractor.conv_layers:
            x_1CT = layer(x_1CT)
        projected = self.feature_projection(x_1CT.transpose(1, 2))
        x_1SD: Tensor = projected[0] if isinstance(projected, tuple) else projected
        if self.pos_conv_embed is not None:
            x_1SD = x_1SD + self.pos_conv_embed(x_1SD)
        if self.layer_norm is not None:
            x_1SD = self.layer_norm(x_1SD)
        row_SD: Tensor = self.dropout(x_1SD)[0]
        return row_SD

    def traced(self, samples_BT: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Run on padded rows in a graph, see ``EncoderFamily.traced_stream``; positions see zeros in the
        padding.
        """
        layers, epsilon = self.feature_extractor.conv_layers, _EPSILON if self.normalizes else None
        x_BCT, lengths_B = convolved(layers, "layer_norm", samples_BT, lengths_B, epsilon)
        projected = self.feature_projection(x_BCT.transpose(1, 2))
        x_BSD: Tensor = projected[0] if isinstance(projected, tuple) else projected
        if (positions := self.pos_conv_embed) is not None:
            x_BDS = x_BSD.transpose(1, 2)
            if (norm := getattr(positions, "batch_norm", None)) is not None:
                x_BDS = norm(x_BDS)
            x_BDS = x_BDS.masked_fill(~mask(x_BSD, lengths_B)[:, None], 0.0)
            x_BDS = positions.activation(positions.padding(positions.conv(x_BDS)))
            x_BSD = x_BSD + x_BDS.transpose(1, 2)
        return x_BSD if self.layer_norm is None else self.layer_norm(x_BSD), lengths_B
