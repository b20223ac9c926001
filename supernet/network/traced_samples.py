"""Convolutions over samples in a graph, whose padded rows have the outputs of the rows alone.

Shapes: B utterances, T samples or frames, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernet.audio.features import SAMPLES
from supernet.network.tracing import mask


def convolved(
    layers: Iterable[Any], group_norm: str, samples_BT: Tensor, lengths_B: Tensor, epsilon: float | None
) -> tuple[Tensor, Tensor]:
    """Run the published convolutions of wav2vec 2.0 (arXiv 2006.11477), see ``EncoderFamily.traced_stream``.

    Only group normalization and the normalization of samples see more than a few frames; they count valid
    frames only.

    Args:
        layers: The convolutions, with norm and activation.
        group_norm: The attribute of ``layers`` that may be a group normalization.
        samples_BT: Samples, whose padding may hold anything.
        lengths_B: The valid samples of each row.
        epsilon: Added to the variance with which samples are normalized. None: they are not normalized.

    Returns:
        The frames (B, C, T) and the number of valid ones of each row.
    """
    lengths_B = lengths_B.clamp(max=samples_BT.size(1))
    samples_BT = samples_BT.masked_fill(~mask(samples_BT, lengths_B), 0.0)
    if epsilon is not None:
        samples_BT = _normalized(samples_BT[:, None], lengths_B, epsilon)[:, 0]
    x_BCT = F.pad(samples_BT, (0, SAMPLES.shortest))[:, None]
    lengths_B = lengths_B.clamp(min=SAMPLES.shortest)
    for layer, (kernel, stride) in zip(layers, SAMPLES.convolutions, strict=True):
        lengths_B = (lengths_B - kernel) // stride + 1
        norm = getattr(layer, group_norm, None)
        if not isinstance(norm, nn.GroupNorm):
            x_BCT = layer(x_BCT)
            continue
        x_BCT = _normalized(layer.conv(x_BCT), lengths_B, norm.eps)
        x_BCT = layer.activation(x_BCT * norm.weight[:, None] + norm.bias[:, None])
    return x_BCT, lengths_B


def _normalized(x_BCT: Tensor, lengths_B: Tensor, epsilon: float) -> Tensor:
    """``x_BCT`` with mean 0 and variance 1 over the valid frames of each channel, and 0 in the padding."""
    valid_B1T = mask(x_BCT.transpose(1, 2), lengths_B)[:, None].to(x_BCT.dtype)
    count_B11 = lengths_B[:, None, None].to(x_BCT.dtype)
    mean_BC1 = (x_BCT * valid_B1T).sum(-1, keepdim=True) / count_B11
    centered_BCT = (x_BCT - mean_BC1) * valid_B1T
    variance_BC1 = centered_BCT.square().sum(-1, keepdim=True) / count_B11
    return centered_BCT / torch.sqrt(variance_BC1 + epsilon)
