"""The frontend from log-mel features to the encoder's stream: normalization and 4x or 8x subsampling.

Shapes: B utterances, T feature frames, S = about T / 4 or T / 8 stream frames, F mel bands, C channels,
D model dimension.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from supernet.audio.features import LOG_MEL, Input
from supernet.system.devices import sent

DEVIATION_FLOOR = 0.5
"""In natural-log units; recordings made at 8 kHz leave the top bands nearly constant."""


def normalize(features_BTF: Tensor, mask_BT: Tensor) -> Tensor:
    """Normalize each band of each utterance to zero mean and unit deviation; padding becomes 0."""
    weight_BT1 = mask_BT[..., None].to(features_BTF.dtype)
    count_B11 = weight_BT1.sum(1, keepdim=True)
    # Padding may hold anything, even infinities, which a factor of 0 would turn into NaN.
    features_BTF = features_BTF.masked_fill(~mask_BT[..., None], 0.0)
    mean_B1F = features_BTF.sum(1, keepdim=True) / count_B11
    centered_BTF = (features_BTF - mean_B1F) * weight_BT1
    deviation_B1F = (centered_BTF.square().sum(1, keepdim=True) / count_B11).sqrt()
    return centered_BTF / deviation_B1F.clamp(min=DEVIATION_FLOOR)


class SeparateFrontend(nn.Module):
    """Base of frontends that run each utterance separately, from samples; ``forward`` computes one.

    Group normalization sees all frames, so that in a batch an utterance's output would depend on the padding.
    """

    def embed(
        self, samples_BT1: Tensor, num_samples: Sequence[int], hidden_BT1: Tensor | None = None
    ) -> Tensor:
        """Compute the stream ``(B, S, D)``; ``num_samples`` are valid; training may mask some."""
        hidden = [None] * len(samples_BT1) if hidden_BT1 is None else hidden_BT1
        rows = [
            self(row_T1[:n, 0], None if hidden_T1 is None else hidden_T1[:n, 0])
            for row_T1, n, hidden_T1 in zip(samples_BT1, num_samples, hidden, strict=True)
        ]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True)


class Frontend(nn.Module):
    """Two or three unpadded 3 x 3 convolutions of stride 2 and a projection.

    Without padding, a valid output frame sees only valid input frames, so the padding after an utterance in a
    batch cannot leak into it.
    """

    conv1: nn.Conv2d
    conv2: nn.Conv2d

    def __init__(self, channels: int, dim: int, dropout: float, input: Input = LOG_MEL) -> None:
        super().__init__()
        self._input, self._names = input, [f"conv{i + 1}" for i in range(len(input.convolutions))]
        for i, name in enumerate(self._names):
            setattr(self, name, nn.Conv2d(channels if i else 1, channels, 3, stride=2))
        # The convolutions are square.
        self.projection = nn.Linear(channels * input.convolved(input.width), dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def embed(
        self, features_BTF: Tensor, num_frames: Sequence[int], hidden_BTF: Tensor | None = None
    ) -> Tensor:
        """Compute the stream ``(B, S, D)`` of utterances of ``num_frames`` frames; training may mask some."""
        lengths_B = sent(torch.tensor(num_frames), features_BTF.device)
        mask_BT = torch.arange(features_BTF.size(1), device=features_BTF.device)[None] < lengths_B[:, None]
        return self(features_BTF, mask_BT, hidden_BTF)  # type: ignore[no-any-return]

    def normalized(self, features_BTF: Tensor, mask_BT: Tensor) -> Tensor:
        """The normalized features, 0 in padding, which may hold anything."""
        return normalize(features_BTF, mask_BT)

    def forward(self, features_BTF: Tensor, mask_BT: Tensor, hidden_BTF: Tensor | None = None) -> Tensor:
        """Compute the stream ``(B, S, D)``.

        Masked values count toward the normalization, so that masking does not change the others. After it,
        they become 0, the mean.
        """
        x_BTF = self.normalized(features_BTF, mask_BT)
        if hidden_BTF is not None:
            x_BTF = x_BTF.masked_fill(hidden_BTF, 0.0)
        if x_BTF.size(1) < self._input.shortest:
            x_BTF = nn.functional.pad(x_BTF, (0, 0, 0, self._input.shortest - x_BTF.size(1)))
        x_BCTF = x_BTF[:, None]
        for name in self._names:
            x_BCTF = torch.relu(getattr(self, name)(x_BCTF))
        x_BSD = self.projection(x_BCTF.transpose(1, 2).flatten(2))
        x_BSD = x_BSD.to(self.norm.weight.dtype)
        return self.dropout(self.norm(x_BSD))  # type: ignore[no-any-return]
