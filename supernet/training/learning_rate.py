"""The learning-rate schedule, which the engine registers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from fairseq2.optim.lr_schedulers import LRScheduler

from supernet.config import TrainConfig
from supernet.training.optim import SCORER_GROUP

Travels = Sequence[tuple[int, float | None]]
"""The number of updates of each phase and how far a score can move in them (None: does not matter)."""


def piecewise_linear(points: Sequence[tuple[float, float]], share: float) -> float:
    """Interpolate linearly between points ``(share of the run, value)``, constant beyond them."""
    xs, ys = zip(*points, strict=True)
    return float(np.interp(share, xs, ys))


def travel_rate(travels: Travels, step: int) -> float | None:
    """The learning rate of the scores in the 0-based ``step``, constant within a phase, or None.

    It lets a score move exactly as far as the phase requires: an update of Adam changes a parameter by at
    most about the learning rate (arXiv 1412.6980, section 2.1).
    """
    for num_steps, way in travels:
        if step < num_steps:
            return None if way is None else way / num_steps
        step -= num_steps
    return None


class PiecewiseLinearLR(LRScheduler):
    """Multiplies each group's base rate by a factor that depends on the completed share of the run.

    In phases for which ``travels`` states how far scores must be able to move, scores have a constant rate
    instead. There, a rate set in the configuration applies only if it is higher: with a lower one, the phase
    would end before the scores have moved far enough. Checkpoints contain only plain data.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, config: TrainConfig, travels: Travels = ()) -> None:
        self._points, self._num_steps = config.schedule, config.num_steps
        self._travels, self._is_set = list(travels), config.scores_lr is not None
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        factor = piecewise_linear(self._points, (self.last_epoch + 1) / self._num_steps)
        rates = [base * factor for base in self.base_lrs]
        flat = travel_rate(self._travels, self.last_epoch)
        if flat is not None:
            rates[SCORER_GROUP] = max(flat, rates[SCORER_GROUP]) if self._is_set else flat
        return rates
