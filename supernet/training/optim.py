"""The optimizer and the learning-rate schedule, which the engine registers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from fairseq2.optim.lr_schedulers import LRScheduler
from torch import Tensor, nn
from torch.optim import AdamW

from supernet.config import TrainConfig
from supernet.network.supernet_ctc import is_scorer

SCORES_LR = 3e-2
"""Learning rate of the scores before the schedule's factor, unless a setting or the phase determines it."""

Travels = Sequence[tuple[int, float | None]]
"""The number of updates of each phase and how far a score can move in them (None: does not matter)."""

_SCORER = 2
"""The index of the scorer's group in ``parameter_groups``."""


def parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """The optimizer's groups: the scorer with its own rate and decay, and biases and norms without decay."""
    groups: dict[str, list[nn.Parameter]] = {"scorer": [], "vectors": [], "matrices": []}
    for name, parameter in model.named_parameters():
        group = "scorer" if is_scorer(name) else "vectors" if parameter.ndim < 2 else "matrices"
        groups[group].append(parameter)
    return [
        {"params": groups["matrices"], "weight_decay": config.weight_decay},
        {"params": groups["vectors"], "weight_decay": 0.0},
        {
            "params": groups["scorer"],
            "weight_decay": config.scores_weight_decay,
            "lr": config.scores_lr or SCORES_LR,
        },
    ]


class SkippingAdamW(AdamW):
    """AdamW that skips and counts updates with non-finite gradients, without waiting for the device."""

    def __init__(
        self,
        params: Any,
        config: TrainConfig,
        skipped: Tensor,
        in_a_row: Tensor,
        after_step: Callable[[float], None] = lambda lr: None,
    ) -> None:
        """
        Args:
            params: The groups of ``parameter_groups``.
            config: The settings of the optimization.
            skipped: Counts the skipped updates; a buffer of the model, so that checkpoints contain it.
            in_a_row: Counts the most recent consecutive ones; likewise a buffer of the model.
            after_step: Called after each update with the learning rate of the matrices.
        """
        super().__init__(params, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
        self._skipped, self._in_a_row, self._after_step = skipped, in_a_row, after_step

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        grads = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        is_bad = ~torch.nn.utils.get_total_norm(grads).isfinite()
        self.found_inf = is_bad.float()  # makes the fused kernel skip the update; meant for gradient scalers
        super().step(closure)
        self._skipped.add_(is_bad)
        self._in_a_row.add_(1).mul_(is_bad)
        self._after_step(float(self.param_groups[0]["lr"]))


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
            rates[_SCORER] = max(flat, rates[_SCORER]) if self._is_set else flat
        return rates
