"""From log-mel features to the encoder's stream: normalisation and 4x subsampling.

Shapes: B utterances, T feature frames, S = about T / 4 stream frames, F mel bands, C channels,
D model dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from supernet.features import NUM_BANDS

DEVIATION_FLOOR = 0.5
"""In natural-log units; recordings made at 8 kHz leave the top bands nearly constant."""

SUBSAMPLING = 4
"""Feature frames in a stream frame."""

MIN_FRAMES = 7
"""The shortest input that two 3 x 3 convolutions of stride 2 can read."""


def num_stream_frames(num_frames: int) -> int:
    """Frames after subsampling; at least 1, so that even a click has an (empty) transcript."""
    return max(1, ((num_frames - 1) // 2 - 1) // 2)


def normalise(features_BTF: Tensor, mask_BT: Tensor) -> Tensor:
    """Zero mean and unit deviation of each band over each utterance; 0 where padded."""
    weight_BT1 = mask_BT[..., None].to(features_BTF.dtype)
    count_B11 = weight_BT1.sum(1, keepdim=True)
    # Padding may hold anything, also infinities, which 0 would not silence.
    features_BTF = features_BTF.masked_fill(~mask_BT[..., None], 0.0)
    mean_B1F = features_BTF.sum(1, keepdim=True) / count_B11
    centred_BTF = (features_BTF - mean_B1F) * weight_BT1
    deviation_B1F = (centred_BTF.square().sum(1, keepdim=True) / count_B11).sqrt()
    return centred_BTF / deviation_B1F.clamp(min=DEVIATION_FLOOR)


class Frontend(nn.Module):
    """Two unpadded 3 x 3 convolutions of stride 2 and a projection.

    Without padding, a valid output frame sees valid input frames only: what stands behind an utterance in its
    batch cannot leak into it.
    """

    def __init__(self, channels: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, stride=2)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=2)
        bands = ((NUM_BANDS - 1) // 2 - 1) // 2
        self.projection = nn.Linear(channels * bands, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features_BTF: Tensor, mask_BT: Tensor) -> Tensor:
        """The stream ``(B, S, D)``."""
        x_BTF = normalise(features_BTF, mask_BT)
        if x_BTF.size(1) < MIN_FRAMES:
            x_BTF = nn.functional.pad(x_BTF, (0, 0, 0, MIN_FRAMES - x_BTF.size(1)))
        x_BCTF = torch.relu(self.conv1(x_BTF[:, None]))
        x_BCSF = torch.relu(self.conv2(x_BCTF))
        x_BSD = self.projection(x_BCSF.transpose(1, 2).flatten(2))
        return self.dropout(self.norm(x_BSD))  # type: ignore[no-any-return]
