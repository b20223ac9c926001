"""Audio of any rate and any container that libsndfile reads, as a stream: what is held does not grow with
the recording.

Shapes: S samples, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import torch
from torch import Tensor
from torchaudio.transforms import Resample

from supernet.errors import UserError
from supernet.features import SAMPLE_RATE

BLOCK_SECONDS = 10
_LARGEST_TERM = 1000
"""Of the ratio of two rates. Usual rates are exact; an odd one, whose exact filter would not fit into memory,
drifts by milliseconds an hour.
"""


class AudioError(UserError):
    """A recording cannot be used; the message is the reason alone."""


def extensions() -> set[str]:
    """Of files that libsndfile may be able to read, in lower case with the dot."""
    return {f".{name.lower()}" for name in soundfile.available_formats()} | {".aif", ".oga", ".opus"}


def seconds(file: Path) -> float:
    """How long ``file`` says it is; 0 where it cannot be read."""
    try:
        return float(soundfile.info(str(file)).duration)
    except (OSError, soundfile.LibsndfileError):
        return 0.0


def read(file: Path | BinaryIO) -> Iterator[Tensor]:
    """Blocks (S,) of a recording in mono at 16 kHz; channels are averaged.

    Raises :class:`AudioError`, also in the middle.
    """
    try:
        with soundfile.SoundFile(file) as sound:
            yield from resampled(_blocks(sound), sound.samplerate)
    except (OSError, soundfile.LibsndfileError) as e:
        raise AudioError(_reason(e)) from None


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return str(text).strip().rstrip(".")


def _blocks(sound: soundfile.SoundFile) -> Iterator[Tensor]:
    while len(block := sound.read(sound.samplerate * BLOCK_SECONDS, dtype="float32", always_2d=True)):
        yield mono(block)


def mono(samples: np.ndarray[Any, Any] | Tensor) -> Tensor:
    """Samples (S,) or (S, C) as floats in [-1, 1], (S,); integers are divided by their full scale."""
    x = torch.as_tensor(samples).detach().cpu()
    if x.ndim not in (1, 2) or x.is_complex() or x.dtype == torch.bool:
        raise AudioError(
            f"samples must be numbers of the shape (S,) or (S, C), but are {x.dtype} of {tuple(x.shape)}"
        )
    scale = 1.0 if x.is_floating_point() else 1.0 / (torch.iinfo(x.dtype).max + 1)
    x = x.to(torch.float32) * scale
    if not bool(x.isfinite().all()):
        raise AudioError("its samples must be finite, but some are infinite or not a number")
    return x if x.ndim == 1 else x.mean(dim=1)


def resampled(blocks: Iterable[Tensor], rate: int) -> Iterator[Tensor]:
    """``blocks`` (S,) at 16 kHz instead of ``rate``: what resampling them as one would give."""
    ratio = Fraction(rate, SAMPLE_RATE).limit_denominator(_LARGEST_TERM)
    if ratio == 1:
        yield from blocks
        return
    yield from _Resampling(ratio).run(blocks)


class _Resampling:
    """The filter sees ``margin`` samples on either side: each block waits for the beginning of the next."""

    def __init__(self, ratio: Fraction) -> None:
        self.old, self.new = ratio.numerator, ratio.denominator
        self.filter = Resample(self.old, self.new)
        reach = self.filter.lowpass_filter_width * self.old / min(self.old, self.new) / self.filter.rolloff
        # Whole multiples of the ratio's terms: there input and output fall on one moment.
        self.margin = self.old * math.ceil(reach / self.old)

    def run(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        held = torch.zeros(self.margin)
        for block in blocks:
            held = torch.cat([held, block])
            ready = (len(held) - 2 * self.margin) // self.old * self.old
            if ready > 0:
                yield self._middle(held[: ready + 2 * self.margin], ready)
                held = held[ready:]
        if rest := len(held) - self.margin:
            yield self._middle(torch.cat([held, torch.zeros(self.margin)]), rest)

    def _middle(self, held: Tensor, count: int) -> Tensor:
        """The part of the output that belongs to ``count`` samples behind the left margin."""
        start = self.margin // self.old * self.new
        resampled: Tensor = self.filter(held)
        return resampled[start : start + math.ceil(count * self.new / self.old)].clone()
