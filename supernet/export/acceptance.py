"""Verification of exported files against the cut model.

Shapes: B utterances, T feature frames, F mel bands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from supernet.audio.features import LOG_MEL, Input
from supernet.audio.specification import SAMPLE_RATE
from supernet.export.formats import Runtime
from supernet.recognition.decoding import greedy
from supernet.runtime.precision import FULL, Precision
from supernet.scoring.error_rates import Measure, score
from supernet.task import Batch, ProgressCallback
from supernet.text.tokens import Tokens

TOLERANCE = 1e-4
"""Largest accepted difference of log-probabilities."""
BATCHES = ([1], [7], [100], [160, 43, 6], [333, 332], [50, 1, 200, 120])
"""Frames of 10 ms of the utterances in each batch of noise on which log-probabilities are compared."""


@dataclass(frozen=True)
class Texts:
    """The hypotheses of a runtime for a split and their error rate."""

    hypotheses: list[str]
    rate: float
    measure: Measure


@dataclass(frozen=True)
class FileCheck:
    """The comparison of an exported file with the cut model."""

    file: str
    num_bytes: int
    exact: bool
    """Whether it must reproduce the cut model, unlike rounded weights."""
    difference: float
    """Largest difference of log-probabilities on noise."""
    margin: float
    """Largest accepted increase of the error rate, as a fraction."""
    rate: float | None = None
    """Error rate on the test split, if that is available."""
    cut_rate: float | None = None
    """Error rate of the cut model on the test split."""
    texts_that_differ: int | None = None
    measure: Measure = "wer"
    """The measure of the rates."""
    precision: Precision = FULL
    """Of the weights."""

    @property
    def problem(self) -> str | None:
        """The reason why the file is rejected, if it is."""
        if self.exact and not self.difference <= TOLERANCE:  # also not-a-number
            return (
                f"`{self.file}` must equal the cut model within {TOLERANCE:g}, "
                f"but its log-probabilities differ by {self.difference:.2g}"
            )
        if self.rate is None or self.cut_rate is None:
            return None
        worse, what = self.rate - self.cut_rate, f"test {self.measure.upper()}"
        if self.exact and worse != 0:
            return (
                f"`{self.file}` must have the cut model's {what}, {self.cut_rate:.2%}, "
                f"but has {self.rate:.2%} instead"
            )
        if worse > self.margin:
            return (
                f"`{self.file}` must be within {100 * self.margin:g} points of the cut model's {what}, "
                f"{self.cut_rate:.2%}, but is {100 * worse:.2f} points worse ({self.rate:.2%}); "
                "`int8_margin` sets the limit"
            )
        return None


def largest_difference(runtime: Runtime, reference: Runtime, input: Input = LOG_MEL, seed: int = 0) -> float:
    """Largest difference of log-probabilities over the valid frames of several batches of noise.

    It is infinite if the lengths differ.
    """
    batches = [[n * input.rate // LOG_MEL.rate for n in lengths] for lengths in BATCHES]
    return max(_difference(runtime, reference, noise(n, seed, input), n) for n in batches)


def noise(num_frames: list[int], seed: int = 0, input: Input = LOG_MEL) -> Tensor:
    """Random input (B, T, F) at the level of speech, also in the padding, which must not matter."""
    rng = torch.Generator().manual_seed(seed)
    x_BTF = torch.randn(len(num_frames), max(num_frames), input.width, generator=rng)
    return 0.1 * x_BTF if input.rate == SAMPLE_RATE else x_BTF * 3 - 8


def _difference(runtime: Runtime, reference: Runtime, features_BTF: Tensor, num_frames: list[int]) -> float:
    ours_BSV, our_lengths = runtime(features_BTF, num_frames)
    theirs_BSV, their_lengths = reference(features_BTF, num_frames)
    if our_lengths != their_lengths:
        return float("inf")
    rows = zip(ours_BSV, theirs_BSV, our_lengths, strict=True)
    differences = [(ours_SV[:n] - theirs_SV[:n].cpu()).abs().max() for ours_SV, theirs_SV, n in rows]
    return torch.stack(differences).max().nan_to_num(torch.inf).item()


def write_texts(
    runtime: Runtime, batches: Iterable[Batch], tokens: Tokens, report: ProgressCallback, what: str
) -> Texts:
    """Transcribe batches by greedy decoding with ``runtime``; ``what`` names the work in ``report``."""
    references, hypotheses = list[str](), list[str]()
    for i, batch in enumerate(batches):
        hypotheses += greedy(*runtime(batch.features_BTF, batch.num_frames), tokens)
        references += batch.texts
        report(what, i + 1, 0)
    found = score(references, hypotheses)
    return Texts(hypotheses, found.rate, found.measure)
