"""The optimizer, which the engine registers."""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from supernet.config import TrainConfig
from supernet.network.tensor_names import is_scorer

SCORES_LR = 3e-2
"""Learning rate of the scores before the schedule's factor, unless a setting or the phase determines it."""

SCORER_GROUP = 2
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
    """AdamW that skips and counts updates with non-finite gradients, without waiting for the device.

    Methods of PyTorch's are called without their decorators, which exempt them from compilation and import
    the compiler for that: two seconds that an estimate does not need.
    """

    add_param_group = unwrap(AdamW.add_param_group)
    zero_grad = unwrap(AdamW.zero_grad)

    def __init__(
        self,
        params: Any,
        config: TrainConfig,
        skipped: Tensor,
        in_a_row: Tensor,
        after_step: Callable[[float], None] = lambda lr: None,
        norm: Callable[[], Tensor] | None = None,
    ) -> None:
        """
        Args:
            params: The groups of ``parameter_groups``.
            config: The settings of the optimization.
            skipped: Counts the skipped updates; a buffer of the model, so that checkpoints contain it.
            in_a_row: Counts the most recent consecutive ones; likewise a buffer of the model.
            after_step: Called after each update with the learning rate of the matrices.
            norm: Returns the norm of the gradients where it is known. None: it is computed.
        """
        super().__init__(params, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
        self._skipped, self._in_a_row, self._after_step = skipped, in_a_row, after_step
        self._norm = norm or self._total_norm

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        is_bad = ~self._norm().isfinite()
        self.found_inf = is_bad.float()  # makes the fused kernel skip the update; meant for gradient scalers
        unwrap(AdamW.step)(self, closure)
        self._skipped.add_(is_bad)
        self._in_a_row.add_(1).mul_(is_bad)
        self._after_step(float(self.param_groups[0]["lr"]))

    def _total_norm(self) -> Tensor:
        grads = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        return torch.nn.utils.get_total_norm(grads)
