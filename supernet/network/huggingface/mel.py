"""The log-mel features of FastConformer checkpoints, computed from samples as part of the network.

Shapes: T samples, F mel bands, S feature frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from supernet.audio.specification import SAMPLE_RATE

_SMALLEST = 2**-24
_EPSILON = 1e-5


class MelOptions(BaseModel):
    """The settings of the features, as in ``preprocessor_config.json``."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    feature_size: int = Field(default=80, ge=1, le=1024)
    n_fft: int = Field(default=512, ge=16, le=8192)
    win_length: int = Field(default=400, ge=16, le=8192)
    hop_length: int = Field(default=160, ge=160, le=160)
    preemphasis: float | None = 0.97


class MelFeatures(nn.Module):
    """Features normalized to mean 0 and variance 1 per band and utterance."""

    window: Tensor
    filters: Tensor

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.options = MelOptions.model_validate(options)
        size = self.options.n_fft // 2 + 1, 0.0, SAMPLE_RATE / 2, self.options.feature_size, SAMPLE_RATE
        with torch.device("cpu"):  # the filters are looked at, which tensors without memory cannot be
            window = torch.hann_window(self.options.win_length, periodic=False)
            filters = melscale_fbanks(*size, norm="slaney", mel_scale="slaney")
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, samples_T: Tensor) -> Tensor:
        """The features (S, F) of one utterance."""
        o = self.options
        samples_T = F.pad(samples_T, (0, max(0, o.hop_length - len(samples_T))))
        num_frames = len(samples_T) // o.hop_length
        if o.preemphasis is not None:
            samples_T = torch.cat([samples_T[:1], samples_T[1:] - o.preemphasis * samples_T[:-1]])
        spectrum = torch.stft(
            samples_T,
            o.n_fft,
            o.hop_length,
            o.win_length,
            self.window,
            pad_mode="constant",
            return_complex=True,
        )
        power_SC = torch.view_as_real(spectrum[:, :num_frames]).square().sum(-1).T
        features_SF = (power_SC @ self.filters + _SMALLEST).log()
        centered_SF = features_SF - features_SF.mean(0)
        variance_F = centered_SF.square().sum(0) / max(1, num_frames - 1)
        return centered_SF / (variance_F.sqrt() + _EPSILON)
