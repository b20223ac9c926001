"""The specification of the input features, for implementations with and without PyTorch."""

from __future__ import annotations

import math

SAMPLE_RATE = 16_000
NUM_BANDS = 80
FRAMES_PER_SECOND = 100
WINDOW = SAMPLE_RATE // 40
"""Samples in an analysis window of 25 ms; shorter audio has no features."""
SHIFT = SAMPLE_RATE // FRAMES_PER_SECOND
"""Samples from one window to the next."""
HIGH_FREQUENCY = -400
"""The upper end of the highest band in Hz, relative to half of the sampling rate."""
SILENCE = 1e-4
"""Recordings whose samples are all quieter have no text: -80 dB relative to full scale."""

FLOOR = math.log(2.0**-23)
"""The log-mel feature of digital silence: the logarithm of the precision of a float32."""
LOUDER = 2 * math.log(32768)
"""What log-mel features of samples in [-32768, 32767] have more than those of samples in [-1, 1]."""

KIND = "log-mel filter bank of Kaldi"
DESCRIPTION = {
    "kind": KIND,
    "sample_rate": SAMPLE_RATE,
    "num_bands": NUM_BANDS,
    "frames_per_second": FRAMES_PER_SECOND,
    "snip_edges": False,
    "high_freq": HIGH_FREQUENCY,
    "dither": 0,
    "samples": "mono, in [-1, 1]",
    "normalization": "none: part of the model",
}
"""Everything that is not Kaldi's default."""
