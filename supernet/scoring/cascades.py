"""Cascades judged on a split: the errors and costs of every threshold, and the threshold for a target.

Shapes: N utterances.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernet.errors import ArgumentError
from supernet.scoring.calibration import area_under_curve, platt
from supernet.scoring.confidence import ALWAYS, DEFAULT, MEASURES, Confidences, goes_on
from supernet.scoring.error_rates import (
    COLUMN,
    Measure,
    Score,
    TranscriptRows,
    count_errors,
    count_words,
    measure_of,
    score_counts,
)
from supernet.scoring.target import Target


@dataclass(frozen=True)
class SizeOutcome:
    """The transcripts of a split by one size."""

    hypotheses: list[str]
    errors_N2: NDArray[np.int64]
    confidences: Mapping[str, NDArray[np.float64]]
    """By measure, (N,)."""

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether each transcript has no error, (N,)."""
        return np.equal(self.errors_N2[:, 1], 0)


@dataclass(frozen=True)
class Outcome:
    """The transcripts of a split by each size."""

    ids: list[str]
    references: list[str]
    seconds_N: NDArray[np.float64]
    sizes: Mapping[str, SizeOutcome]

    @cached_property
    def measure(self) -> Measure:
        """The error rate that the texts are judged by."""
        return measure_of(self.references)

    @cached_property
    def num_words(self) -> int:
        """The number of words, or of characters, in the references."""
        return int(count_words(self.references)[:, COLUMN[self.measure]].sum())


@dataclass(frozen=True)
class Rule:
    """A cascade, apart from its threshold."""

    measure: str
    """Of the confidence."""
    sizes: tuple[str, ...]
    """The smallest first."""
    macs: tuple[int, ...]
    """What each size adds for 10 s of audio."""
    milliseconds: tuple[float, ...]
    """The time for 10 s of audio up to the end of each size."""


@dataclass(frozen=True)
class Point:
    """A cascade with a threshold on a split."""

    threshold: float
    num_errors: int
    """Of words, or of characters."""
    rate: float
    macs: float
    """The average for 10 s of audio."""
    milliseconds: float
    """The average for 10 s of audio, on this machine."""
    shares: tuple[float, ...]
    """The share of the utterances that each size recognizes."""


def areas(outcome: Outcome) -> dict[str, dict[str, float | None]]:
    """The area under the ROC curve of each size and measure."""
    return {
        label: {m: area_under_curve(x, size.is_right) for m, x in size.confidences.items()}
        for label, size in outcome.sizes.items()
    }


def best_measure(found: Mapping[str, Mapping[str, float | None]]) -> str:
    """The measure with the largest mean area over the sizes that have both right and wrong transcripts."""
    means = {}
    for name in MEASURES:
        known = [area for row in found.values() if (area := row[name]) is not None]
        means[name] = sum(known) / len(known) if known else 0.0
    return max(means, key=lambda name: (means[name], name == DEFAULT))


def calibrate(outcome: Outcome) -> tuple[str, dict[str, dict[str, Any]]]:
    """The best measure, and ``slope``, ``offset`` and areas of each size."""
    found = areas(outcome)
    measure, rows = best_measure(found), dict[str, dict[str, Any]]()
    for label, size in outcome.sizes.items():
        fitted = platt(size.confidences[measure], size.is_right)
        rows[label] = {"slope": fitted.slope, "offset": fitted.offset, "auc": found[label]}
    return measure, rows


def share_right(outcome: Outcome, size: str, confidences: Confidences) -> tuple[float, float]:
    """The share of the transcripts by a calibrated size without errors, and its expected value."""
    found, calibration = outcome.sizes[size], confidences.calibrations[size]
    expected = [calibration.probability(value) for value in found.confidences[confidences.measure]]
    return float(found.is_right.mean()), float(np.mean(expected))


def last_stages(outcome: Outcome, rule: Rule, threshold: float) -> NDArray[np.int64]:
    """The index of the size that recognizes each utterance in the end, (N,)."""
    stages_N = np.zeros(len(outcome.ids), dtype=np.int64)
    for i, size in enumerate(rule.sizes[:-1]):
        unsure_N = goes_on(outcome.sizes[size].confidences[rule.measure], threshold)
        stages_N[(stages_N == i) & unsure_N] = i + 1
    return stages_N


def point(outcome: Outcome, rule: Rule, threshold: float) -> Point:
    """The errors and the cost of a threshold."""
    stages_N, column = last_stages(outcome, rule, threshold), COLUMN[outcome.measure]
    errors_MN = np.stack([outcome.sizes[size].errors_N2[:, column] for size in rule.sizes])
    errors = errors_MN[stages_N, np.arange(len(stages_N))].sum()
    seconds_N = outcome.seconds_N
    costs_2N = np.stack([np.cumsum(rule.macs), rule.milliseconds])[:, stages_N]
    macs, milliseconds = ((costs_2N * seconds_N).sum(axis=1) / seconds_N.sum()).tolist()
    shares = tuple(float((stages_N == i).mean()) for i in range(len(rule.sizes)))
    return Point(threshold, int(errors), float(errors / outcome.num_words), macs, milliseconds, shares)


def curve_of(outcome: Outcome, rule: Rule) -> list[Point]:
    """Every threshold that makes a difference, from 0, with which the smallest size runs alone."""
    parts = [outcome.sizes[size].confidences[rule.measure] for size in rule.sizes[:-1]]
    values = np.unique(np.concatenate(parts))
    values = values[np.isfinite(values)]
    between = (values[:-1] + values[1:]) / 2
    return [point(outcome, rule, threshold) for threshold in (0.0, *between.tolist(), ALWAYS)]


def fit(outcome: Outcome, rule: Rule, whole_macs: int, target: Target) -> Point:
    """The threshold for a target.

    Args:
        outcome: The transcripts of the validation split.
        rule: The cascade.
        whole_macs: The cost of the largest size alone.
        target: The aim.

    Raises:
        ArgumentError: No threshold reaches it.
    """
    if target.kind == "threshold":
        return point(outcome, rule, target.amount)
    points = curve_of(outcome, rule)
    if target.kind == "macs":
        fitting = [p for p in points if p.macs <= target.amount * whole_macs]
        if fitting:
            return min(fitting, key=lambda p: (p.num_errors, p.macs))
        least = f"macs={100 * min(p.macs for p in points) / whole_macs:.1f}%"
    else:
        most = points[-1].rate if target.kind == "auto" else target.amount
        fitting = [p for p in points if p.rate <= most]
        if fitting:
            return min(fitting, key=lambda p: (p.macs, p.num_errors))
        least = f"errors={100 * min(p.rate for p in points):.3g}%"
    raise ArgumentError(
        ["threshold"],
        f"`threshold` must be at least {least}, the best that the cascade {','.join(rule.sizes)} reaches on "
        f"the validation split, but is {target} instead.",
    )


def cascade_rows(outcome: Outcome, rule: Rule, threshold: float) -> TranscriptRows:
    """The transcripts of a cascade."""
    stages_N = last_stages(outcome, rule, threshold)
    texts_ = [outcome.sizes[rule.sizes[stage]].hypotheses[i] for i, stage in enumerate(stages_N)]
    return list(zip(outcome.ids, outcome.references, texts_, strict=True))


def score_rows(rows: TranscriptRows, measure: Measure) -> Score:
    """The error rates of transcripts, with their intervals."""
    _, references, hypotheses = zip(*rows, strict=True)
    return score_counts(count_errors(references, hypotheses), count_words(references), measure)
