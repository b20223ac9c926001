"""The confidence of a transcript from the log-probabilities of its frames, and thresholds on it. NumPy only.

Shapes: S stream frames, N of them whose best token is not the blank (all if there is none), V tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from supernet.errors import ArgumentError

Floats = NDArray[np.floating[Any]]

FORMAT = 1
_BLANK_ID = 0
_LARGEST = 1e30
ALWAYS = 1.01
"""A threshold that no confidence reaches: every recording goes on to the largest size."""
_ALPHA = 1 / 3


def entropy(log_probs_SV: Floats) -> float:
    """1 minus the mean Shannon entropy of the non-blank frames, as a share of the greatest (2204.06328)."""
    log_probs_NV = _non_blank(log_probs_SV)
    return 1.0 + float(_sum(np.exp(log_probs_NV) * log_probs_NV).mean() / math.log(log_probs_NV.shape[1]))


def tsallis(log_probs_SV: Floats) -> float:
    """1 minus the greatest Tsallis entropy of a non-blank frame, of order 1/3, as a share of the greatest
    possible (2212.08703, linear normalization, minimum over frames).
    """
    log_probs_NV = _non_blank(log_probs_SV)
    greatest = log_probs_NV.shape[1] ** (1 - _ALPHA) - 1
    return 1.0 - float(((_sum(np.exp(_ALPHA * log_probs_NV)) - 1) / greatest).max())


def best_path(log_probs_SV: Floats) -> float:
    """The probability of the best path, blanks included, per frame: the geometric mean over all frames."""
    return float(np.exp(log_probs_SV.max(axis=1).mean()))


MEASURES: dict[str, Callable[[Floats], float]] = {
    "entropy": entropy,
    "tsallis": tsallis,
    "best-path": best_path,
}
"""Each maps log-probabilities (S, V), natural logarithm, to a confidence from 0 to 1."""
DEFAULT = "entropy"
"""The measure where none has been chosen on a validation split."""


def measured(measure: str, log_probs_SV: Floats) -> float:
    """The confidence by a measure: 1 without frames, at most 1 in spite of rounding, and not-a-number if the
    output is not finite.
    """
    if not len(log_probs_SV):
        return 1.0
    log_probs_SV = np.maximum(np.asarray(log_probs_SV, np.float64), -1e4)  # 0 times infinity is not a number
    return float(np.clip(MEASURES[measure](log_probs_SV), 0.0, 1.0))


@overload
def goes_on(confidence: float, threshold: float) -> bool: ...
@overload
def goes_on(confidence: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]: ...
def goes_on(confidence: float | NDArray[np.float64], threshold: float) -> bool | np.bool_ | NDArray[np.bool_]:
    """Whether a cascade goes on to its next size: also if the confidence is not a number."""
    return np.logical_not(np.greater_equal(confidence, threshold))


@dataclass(frozen=True)
class Calibration:
    """A logistic function from confidences of one size to probabilities (Platt, 1999)."""

    slope: float
    offset: float

    def probability(self, confidence: float) -> float:
        """The probability that a text of this confidence has no error."""
        return 0.5 * (1.0 + math.tanh((self.slope * confidence + self.offset) / 2))


@dataclass(frozen=True)
class Confidences:
    """The measure of confidence that was best on the validation split, and what was fitted there."""

    measure: str
    calibrations: Mapping[str, Calibration]
    """By size or budget."""
    thresholds: Mapping[str, float]
    """By cascade, such as ``6,12``."""

    @classmethod
    def from_json(cls, data: Any) -> Confidences:
        """Read what may be damaged.

        Raises:
            ValueError, TypeError, LookupError, AttributeError: It is.
        """
        measure = data["measure"]
        if data["format"] != FORMAT or measure not in MEASURES:
            raise ValueError("of another format")
        calibrations = {
            str(size): Calibration(_number(row["slope"]), _number(row["offset"]))
            for size, row in data["sizes"].items()
        }
        thresholds = {str(name): _number(row["threshold"]) for name, row in data["cascades"].items()}
        return cls(measure, calibrations, thresholds)

    def probability(self, size: str, confidence: float) -> float | None:
        """The probability that a text by ``size`` has no error; None if that was not calibrated."""
        found = self.calibrations.get(size)
        return None if found is None else found.probability(confidence)


UNKNOWN = Confidences(DEFAULT, {}, {})
"""Nothing was fitted."""


def cascade_name(sizes: Sequence[str]) -> str:
    return ",".join(sizes)


class NotFitted(ArgumentError):
    """A cascade for which no threshold was fitted, and none was given."""


def threshold_of(known: Confidences, sizes: Sequence[str], threshold: float | None) -> float:
    """The threshold of a cascade.

    Args:
        known: What was fitted on the validation split.
        sizes: The sizes of the cascade.
        threshold: The given one. None: the fitted one.

    Raises:
        NotFitted: There is none.
        ArgumentError: It is negative.
    """
    name = cascade_name(sizes)
    threshold = known.thresholds.get(name) if threshold is None else threshold
    if threshold is None:
        others = f", only for {' and '.join(known.thresholds)}" if known.thresholds else ""
        raise NotFitted(
            ["threshold"],
            f"`threshold` must be given for the cascade {name}, as none was fitted on the validation "
            f"split{others}.",
        )
    if not threshold >= 0:
        raise ArgumentError(["threshold"], f"`threshold` must be at least 0, but is {threshold:g} instead.")
    return threshold


def check_ascending(sizes: Sequence[tuple[str, float]], name: str = "cascade") -> None:
    """Raise ``ArgumentError`` unless there are two or more sizes, each more costly than the one before.

    Args:
        sizes: The names and costs of the sizes.
        name: The caller's name for them.
    """
    costs, names = [cost for _, cost in sizes], cascade_name([name for name, _ in sizes])
    if len(costs) < 2 or any(a >= b for a, b in pairwise(costs)):
        raise ArgumentError(
            [name],
            f"`{name}` must be two or more sizes, the smallest first, such as 6,12, but is {names} instead.",
        )


def _non_blank(log_probs_SV: Floats) -> Floats:
    is_token_S = log_probs_SV.argmax(axis=1) != _BLANK_ID
    return log_probs_SV[is_token_S] if is_token_S.any() else log_probs_SV


def _sum(values_NV: Floats) -> Floats:
    total_N: Floats = values_NV.sum(axis=1)
    return total_N


def _number(value: Any) -> float:
    # A comparison, because `math.isfinite` fails with whole numbers of hundreds of digits.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LARGEST:
        raise ValueError("not a number")
    return float(value)
