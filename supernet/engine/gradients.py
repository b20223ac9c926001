"""Normalization and clipping of gradients: in a few operations, and with one norm for all who ask."""

from __future__ import annotations

import torch
from fairseq2.gang import Gang, all_sum
from fairseq2.nn.data_parallel import (
    DataParallelFacade,
    get_data_parallel_facade,
    set_data_parallel_facade,
)
from fairseq2.typing import ContextManager
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm

from supernet.engine.sharding import average_whole, local, total_norm


class Gradients(DataParallelFacade):
    """Prepares the gradients of a step for the optimizer.

    The engine divides each gradient by the number of frames in an operation of its own, and keeps to itself
    the norm by which it clips. Here the unit counts the frames and reports none to the engine, which then
    leaves the gradients to be divided when it asks for them to be clipped.
    """

    def __init__(self, model: nn.Module, ranks: Gang) -> None:
        """
        Args:
            model: The network, perhaps in a data-parallel wrapper, whose facade this becomes.
            ranks: The processes that share every batch.
        """
        self._plain, self._ranks = get_data_parallel_facade(model), ranks
        self._parameters = list(model.parameters())
        self._is_sharded = any(isinstance(parameter, DTensor) for parameter in self._parameters)
        self._num_frames, self._norm = 0, torch.zeros(())
        set_data_parallel_facade(model, self)

    def count(self, num_frames: int) -> None:
        """Add the frames of a batch, over which its loss is a sum."""
        self._num_frames += num_frames

    def norm(self) -> Tensor:
        """The norm of the gradients as they were before they were last clipped."""
        return self._norm

    def clip_grad_norm(self, max_norm: float | None) -> Tensor:
        """Divide the gradients by the frames of all processes, and clip them; returns the norm in between."""
        grads = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        # Wrappers average over processes instead of adding up.
        parts = [local(grad) for grad in grads]
        if self._is_sharded:
            average_whole(grads, self._ranks)
        if grads:
            torch._foreach_mul_(parts, self._ranks.size / all_sum(self._ranks, self._num_frames))
        self._num_frames = 0
        self._norm = total_norm(grads, self._ranks) if self._is_sharded else get_total_norm(grads)
        clip_(parts, torch.inf if max_norm is None else max_norm, self._norm)
        return self._norm

    def state_dict(self) -> dict[str, object]:
        return self._plain.state_dict()

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        self._plain.load_state_dict(state_dict)

    def no_sync(self) -> ContextManager[None]:
        return self._plain.no_sync()

    def summon_full_parameters(self) -> ContextManager[None]:
        return self._plain.summon_full_parameters()


def clip_(gradients: list[Tensor], max_norm: float, norm: Tensor) -> None:
    """Scale ``gradients``, whose norm is ``norm``, down to ``max_norm``, as PyTorch does."""
    if gradients:
        torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
