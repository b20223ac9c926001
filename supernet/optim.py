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


def parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Scores with their own rate and no decay; no decay on biases and norms either."""
    groups: dict[str, list[nn.Parameter]] = {"scores": [], "vectors": [], "matrices": []}
    for name, parameter in model.named_parameters():
        is_scores = name.rpartition(".")[2] == "scores"
        groups["scores" if is_scores else "vectors" if parameter.ndim < 2 else "matrices"].append(parameter)
    return [
        {"params": groups["matrices"], "weight_decay": config.weight_decay},
        {"params": groups["vectors"], "weight_decay": 0.0},
        {"params": groups["scores"], "weight_decay": 0.0, "lr": config.scores_lr},
    ]


class SkippingAdamW(AdamW):
    """AdamW that leaves out an update whose gradient is not finite, without asking the device, and counts it.

    ``skipped`` and ``in_a_row`` are integer tensors that belong to the model, so that checkpoints keep them.
    """

    def __init__(self, params: Any, config: TrainConfig, skipped: Tensor, in_a_row: Tensor) -> None:
        super().__init__(params, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
        self._skipped, self._in_a_row = skipped, in_a_row

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        grads = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        is_bad = ~torch.nn.utils.get_total_norm(grads).isfinite()
        self.found_inf = is_bad.float()  # the fused kernel's own switch, else used by gradient scalers
        super().step(closure)
        self._skipped.add_(is_bad)
        self._in_a_row.add_(1).mul_(is_bad)


def piecewise_linear(points: Sequence[tuple[float, float]], share: float) -> float:
    """A value that is linear between ``(share of the run, value)`` points and constant beyond them."""
    xs, ys = zip(*points, strict=True)
    return float(np.interp(share, xs, ys))


class PiecewiseLinearLR(LRScheduler):
    """Every group's base rate times a factor that depends on the share of the run that is over."""

    def __init__(self, optimizer: torch.optim.Optimizer, config: TrainConfig) -> None:
        self._points, self._num_steps = config.schedule, config.num_steps
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        factor = piecewise_linear(self._points, (self.last_epoch + 1) / self._num_steps)
        return [base * factor for base in self.base_lrs]
