"""Choice of the device and of the number of threads, and their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.amp.autocast_mode import is_autocast_available

from supernet.errors import ArgumentError
from supernet.system.machine import processor


def chosen_device(name: str | None = None) -> torch.device:
    """The device on which to compute.

    Each of several processes on a machine gets its own GPU, unless ``name`` has a number.

    Args:
        name: ``cpu``, ``cuda`` or ``cuda:N``; a GPU if None and there is one.

    Raises:
        ArgumentError: This machine has no such device.
    """
    if problem := device_problem(name):
        raise ArgumentError(["device"], problem)
    if name is None and not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device(f"cuda:{_local_rank()}" if name in (None, "cuda") else name)


def device_problem(name: str | None) -> str | None:
    """The reason why ``name`` cannot be used on this machine, if any."""
    if name is None or name == "cpu":
        return None
    if re.fullmatch(r"cuda(:\d+)?", name) is None:
        return f"`device` must be cpu, cuda or cuda:N, but is '{name}' instead."
    count = torch.cuda.device_count()
    if int(name.partition(":")[2] or 0) < count:
        return None
    gpus = "none" if count == 0 else f"{count} of them"
    return f"`device` must be a GPU of this machine, which has {gpus}, but is '{name}' instead. Use cpu."


def _local_rank() -> int:
    """The rank of this process on its machine, as set by torchrun."""
    rank = os.environ.get("LOCAL_RANK", "0")
    return int(rank) if rank.isdigit() and int(rank) < torch.cuda.device_count() else 0


@contextmanager
def with_threads(number: int | None) -> Iterator[None]:
    """Set the number of PyTorch's threads, of the whole process, temporarily; None leaves it unchanged."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def usual_precision(device: torch.device) -> str:
    """The precision that pays on ``device``: bfloat16 on a GPU that has it, else float32.

    Also on CPUs with instructions for it, bfloat16 pays for large networks only: at dimension 96, divided
    among two processes, an update takes 1.3 times as long.
    """
    has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if has_bfloat16 else "float32"


def training_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The data type of matrix products in training.

    Args:
        precision: ``float32``, ``bfloat16``, ``float16`` or ``auto``, see ``usual_precision``.
        device: A GPU, or a CPU, which computes in float32 instead of float16.
    """
    if precision == "auto":
        precision = usual_precision(device)
    if precision == "float16" and device.type == "cpu":
        return torch.float32
    return getattr(torch, precision)  # type: ignore[no-any-return]


@contextmanager
def autocast(precision: str, device: torch.device) -> Iterator[None]:
    """Let matrix products and convolutions on ``device`` compute in ``training_dtype`` temporarily."""
    dtype = training_dtype(precision, device)
    if not is_autocast_available(device.type):
        yield
        return
    is_mixed = dtype != torch.float32
    with torch.autocast(device.type, dtype if is_mixed else None, enabled=is_mixed):
        yield


def machine(device: torch.device) -> str:
    """The processor and its threads, or the GPU: only latencies of the same machine are comparable."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{processor()}, {threads} thread{'s' if threads > 1 else ''}"


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` of the host on ``device``, without waiting for it: only pinned memory is copied while a GPU
    still computes.
    """
    if tensor.device.type != "cpu" or device.type == "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def use_tf32(device: torch.device) -> None:
    """Let a GPU multiply matrices in TensorFloat32, also outside of training, where the engine does so."""
    if device.type == "cuda":
        torch.backends.fp32_precision = "tf32"  # type: ignore[attr-defined]
