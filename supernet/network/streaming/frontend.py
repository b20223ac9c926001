"""The frontend of streaming networks, whose normalization knows nothing of the rest of an utterance.

Shapes: B utterances, T frames, F mel bands.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from supernet.audio.features import LOG_MEL, Input
from supernet.audio.specification import FLOOR
from supernet.network.frontend import DEVIATION_FLOOR, Frontend
from supernet.task import Batch


class StreamingFrontend(Frontend):
    """A frontend that normalizes each band by its mean and deviation in the training data, which are stored
    with the weights.

    An encoder frame sees ``input.shortest`` feature frames: its own and the first ones of those that follow.
    """

    mean_F: Tensor
    deviation_F: Tensor

    def __init__(self, channels: int, dim: int, dropout: float, input: Input = LOG_MEL) -> None:
        super().__init__(channels, dim, dropout, input)
        self.register_buffer("mean_F", torch.zeros(input.width))
        self.register_buffer("deviation_F", torch.ones(input.width))

    def normalized(self, features_BTF: Tensor, mask_BT: Tensor) -> Tensor:
        # Nothing is below the floor, except what other programs compute from samples on a larger scale.
        x_BTF = (features_BTF.clamp(min=FLOOR) - self.mean_F) / self.deviation_F
        return x_BTF.masked_fill(~mask_BT[..., None], 0.0)

    @torch.no_grad()
    def measure(self, batches: Iterable[Batch]) -> None:
        """Store the mean and the deviation of each band over all frames of ``batches``."""
        count = 0
        total_F, squares_F = (torch.zeros_like(self.mean_F, dtype=torch.float64) for _ in range(2))
        for batch in batches:
            for row_TF, num_frames in zip(batch.features_BTF, batch.num_frames, strict=True):
                valid_TF = row_TF[:num_frames].double().cpu()
                count += num_frames
                total_F += valid_TF.sum(0)
                squares_F += valid_TF.square().sum(0)
        mean_F = total_F / count
        deviation_F = (squares_F / count - mean_F.square()).clamp(min=0.0).sqrt()
        self.mean_F.copy_(mean_F)
        self.deviation_F.copy_(deviation_F.clamp(min=DEVIATION_FLOOR))
