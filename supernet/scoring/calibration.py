"""Confidences against errors: how well they are ordered, and the probabilities that they stand for.

Shapes: N utterances.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from supernet.scoring.confidence import Calibration

_STEPS = 100


def area_under_curve(confidence_N: NDArray[np.float64], is_right_N: NDArray[np.bool_]) -> float | None:
    """The area under the ROC curve: how often a right utterance has more confidence than a wrong one, where
    ties count half. None if there are none of either.
    """
    right, wrong = confidence_N[is_right_N], np.sort(confidence_N[~is_right_N])
    if not len(right) or not len(wrong):
        return None
    below = np.searchsorted(wrong, right, "left") + np.searchsorted(wrong, right, "right")
    return float(below.sum() / (2 * len(right) * len(wrong)))


def platt(confidence_N: NDArray[np.float64], is_right_N: NDArray[np.bool_]) -> Calibration:
    """The logistic function with the greatest likelihood, for smoothed targets, and never falling (Platt,
    1999, *Probabilistic outputs for support vector machines*, section 2.2).
    """
    num_right, num_wrong = int(is_right_N.sum()), int((~is_right_N).sum())
    targets_N = np.where(is_right_N, (num_right + 1) / (num_right + 2), 1 / (num_wrong + 2))
    center, scale = float(confidence_N.mean()), float(confidence_N.std())
    mean = float(targets_N.mean())
    flat = np.array([0.0, np.log(mean / (1 - mean))])
    slope, offset = flat if scale < 1e-12 else _newton((confidence_N - center) / scale, targets_N, flat)
    if slope <= 0:  # a higher confidence must not mean a lower probability
        return Calibration(0.0, float(flat[1]))
    return Calibration(float(slope / scale), float(offset - slope * center / scale))


def _newton(
    x_N: NDArray[np.float64], targets_N: NDArray[np.float64], start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Slope and offset with the least cross entropy, by Newton's method with halved steps."""
    design = np.stack([x_N, np.ones_like(x_N)], axis=1)
    at = start
    for _ in range(_STEPS):
        probability_N = 0.5 * (1 + np.tanh(design @ at / 2))
        gradient = design.T @ (probability_N - targets_N)
        weights_N = probability_N * (1 - probability_N)
        step = np.linalg.solve(design.T @ (weights_N[:, None] * design) + 1e-12 * np.eye(2), gradient)
        while _loss(design @ (at - step), targets_N) > _loss(design @ at, targets_N) + 1e-12:
            step = step / 2
        at = at - step
        if np.abs(step).max() < 1e-10:
            break
    return at


def _loss(z_N: NDArray[np.float64], targets_N: NDArray[np.float64]) -> float:
    return float((np.logaddexp(0, z_N) - targets_N * z_N).sum())
