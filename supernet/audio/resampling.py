"""Resampling to 16 kHz, of whole recordings and of streams of blocks.

Shapes: S samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor
from torchaudio.transforms import Resample

from supernet.audio.specification import SAMPLE_RATE
from supernet.errors import AudioError

_MAX_TERMS = (1000, 4000)
"""The largest denominator, and about the largest numerator, of the ratio of two rates.

Common rates are exact; an odd one, whose exact filter would not fit into memory, may drift by a second per
hour.
"""
_RATES = (1000, 1_000_000)


def resample_blocks(blocks: Iterable[Tensor], rate: float) -> Iterator[Tensor]:
    """Resample a stream of ``blocks`` (S,) from ``rate`` to 16 kHz, as if they were one."""
    ratio = _ratio(rate)
    if ratio == 1:
        yield from blocks
        return
    yield from _Resampling(ratio).run(blocks)


def resample(samples: Tensor, rate: float) -> Tensor:
    """Resample ``samples`` (…, S) from ``rate`` to 16 kHz."""
    ratio = _ratio(rate)
    if ratio == 1:
        return samples
    found: Tensor = _filter(ratio)(samples)
    return found


def check_rate(rate: float) -> None:
    """Raise ``AudioError`` if ``rate`` is not plausible for speech."""
    lowest, highest = _RATES
    if not lowest <= rate <= highest:
        raise AudioError(f"its sampling rate must be from {lowest} to {highest} Hz, but is {round(rate)}")


def _ratio(rate: float) -> Fraction:
    """Approximate ``rate`` over 16 kHz by a fraction with small terms."""
    check_rate(rate)
    exact, (below, above) = Fraction(rate) / SAMPLE_RATE, _MAX_TERMS
    return exact.limit_denominator(min(below, math.ceil(above / exact)))


@lru_cache(maxsize=64)
def _filter(ratio: Fraction) -> Resample:
    return Resample(ratio.numerator, ratio.denominator)


class _Resampling:
    """A filter that sees ``margin`` samples on either side, so that each block waits for the next one."""

    def __init__(self, ratio: Fraction) -> None:
        self.old, self.new = ratio.numerator, ratio.denominator
        self.filter = _filter(ratio)
        reach = self.filter.lowpass_filter_width * self.old / min(self.old, self.new) / self.filter.rolloff
        # A multiple of the ratio's terms, at which input and output samples coincide.
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
        """The output for the ``count`` samples after the left margin."""
        start = self.margin // self.old * self.new
        resampled: Tensor = self.filter(held)
        return resampled[start : start + math.ceil(count * self.new / self.old)].clone()
