"""Fully sharded data parallelism (FSDP, arXiv 2304.11277): every process keeps a part of each weight.

A layer gathers its weights when it is called, in the forward pass and again in the backward pass. All
processes must gather and reduce the same weights in the same order, also where a process has no rows for a
layer that others run; see ``SupernetCTC.is_sharded``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from fairseq2.gang import Gang
from fairseq2.nn.fsdp import FSDPWrapper
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from supernet.network.supernet_ctc import SupernetCTC


def shard(model: nn.Module, granularity: str, wrapper: FSDPWrapper) -> nn.Module:
    """Divide ``model`` layer by layer, and then the rest, all but its scorer: methods read and change the few
    numbers of that between steps.
    """
    assert isinstance(model, SupernetCTC)
    for name, layer in model.encoder.layers.items():
        model.encoder.layers[name] = wrapper(layer)
    scorer: Any = model.scorer
    model.scorer = None  # type: ignore[assignment]
    wrapped = wrapper(model, reshard_after_forward=False)
    model.scorer = scorer
    model.is_sharded = True
    return wrapped


def local(tensor: Tensor) -> Tensor:
    """The part of ``tensor`` that this process has; changes of it are changes of ``tensor``."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """The whole of ``tensor``, collected from all processes, which must ask for it in the same order."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def average_whole(gradients: Sequence[Tensor], ranks: Gang) -> None:
    """Average over processes what FSDP does not: the gradients of weights that each of them has whole."""
    for gradient in gradients:
        if not isinstance(gradient, DTensor):
            torch.distributed.all_reduce(gradient, group=ranks.as_process_group())
            gradient /= ranks.size


def total_norm(gradients: Sequence[Tensor], ranks: Gang) -> Tensor:
    """The norm of all gradients, the same on every process."""
    parts = [local(gradient) for gradient in gradients if isinstance(gradient, DTensor)]
    whole = [gradient for gradient in gradients if not isinstance(gradient, DTensor)]
    square = get_total_norm(parts).square()
    torch.distributed.all_reduce(square, group=ranks.as_process_group())
    return (square + get_total_norm(whole).square()).sqrt()


def save_parts(optimizer: Optimizer) -> None:
    """Let ``optimizer`` save the parts of its state that this process has, as plain tensors."""
    optimizer.register_state_dict_post_hook(_as_parts)
    optimizer.register_load_state_dict_pre_hook(_as_wholes)


def _as_parts(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    values = state["state"].items()
    return {**state, "state": {i: {name: _part(x) for name, x in kept.items()} for i, kept in values}}


def _as_wholes(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    values = state["state"].items()
    wholes = {i: {name: _whole(x, parameters[i]) for name, x in kept.items()} for i, kept in values}
    return {**state, "state": wholes}


def _part(value: Any) -> Any:
    return local(value) if isinstance(value, Tensor) else value


def _whole(value: Any, parameter: Tensor) -> Any:
    if not isinstance(value, Tensor) or not isinstance(parameter, DTensor):
        return value
    if value.shape != parameter.to_local().shape:
        return value
    mesh, placements = parameter.device_mesh, parameter.placements
    shape, stride = parameter.shape, parameter.stride()
    return DTensor.from_local(value, mesh, placements, run_check=False, shape=shape, stride=stride)
