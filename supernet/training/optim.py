"""The optimizer and the learning-rate schedule; the engine registers them."""

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
"""Rate of the scores, times the schedule's factor, where neither a setting nor the phase says another."""

Travels = Sequence[tuple[int, float | None]]
"""Of each phase in order: its updates, and how far a score may go in them (None: no matter)."""

_SCORER = 2
"""The group of the scorer's parameters among those of ``parameter_groups``."""


def parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """The scorer with its own rate and decay; no decay on biases and norms."""
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
    """AdamW that leaves out an update whose gradient is not finite, without asking the device, and counts
    it.
    """

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
            skipped: Counts the updates left out; belongs to the model, so that checkpoints keep it.
            in_a_row: Counts those left out last; likewise.
            after_step: Called after each update with the learning rate of the matrices.
        """
        super().__init__(params, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
        self._skipped, self._in_a_row, self._after_step = skipped, in_a_row, after_step

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        grads = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        is_bad = ~torch.nn.utils.get_total_norm(grads).isfinite()
        self.found_inf = is_bad.float()  # the fused kernel's own switch, else used by gradient scalers
        super().step(closure)
        self._skipped.add_(is_bad)
        self._in_a_row.add_(1).mul_(is_bad)
        self._after_step(float(self.param_groups[0]["lr"]))


def piecewise_linear(points: Sequence[tuple[float, float]], share: float) -> float:
    """A value that is linear between ``(share of the run, value)`` points and constant beyond them."""
    xs, ys = zip(*points, strict=True)
    return float(np.interp(share, xs, ys))


def travel_rate(travels: Travels, step: int) -> float | None:
    """The rate of the scores in the 0-based ``step``, flat in each phase, that lets a score go as far as its
    phase wants: Adam moves a parameter by at most about its rate in an update (arXiv 1412.6980, section 2.1).
    """
    for num_steps, way in travels:
        if step < num_steps:
            return None if way is None else way / num_steps
        step -= num_steps
    return None


class PiecewiseLinearLR(LRScheduler):
    """Every group's base rate times a factor that depends on the share of the run that is over.

    In phases that say in ``travels`` how far scores must be able to go, scores have a flat rate instead; a
    rate that the configuration sets for them counts there only where it is higher, as with a lower one the
    phase would come to its end before the scores have moved. A checkpoint holds plain data only.
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
