"""Where to compute: the one place that chooses a device, and how many threads share it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from supernet.errors import ArgumentError


def chosen_device(name: str | None = None) -> torch.device:
    """The device of this name: ``cpu``, ``cuda`` or ``cuda:1``; by default a GPU where there is one.

    Of several processes on one machine each gets a GPU of its own, unless ``name`` has a number. Raises
    ``ArgumentError`` where there is no such device here.
    """
    if problem := device_problem(name):
        raise ArgumentError(["device"], problem)
    if name is None and not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device(f"cuda:{_local_rank()}" if name in (None, "cuda") else name)


def device_problem(name: str | None) -> str | None:
    """Why ``name`` cannot be used on this machine, if it cannot."""
    if name is None or name == "cpu":
        return None
    if re.fullmatch(r"cuda(:\d+)?", name) is None:
        return f"`device` must be cpu, cuda or cuda:N, but is '{name}' instead."
    count = torch.cuda.device_count()
    if int(name.partition(":")[2] or 0) < count:
        return None
    gpus = "none" if count == 0 else f"{count} of them"
    return f"`device` must be a GPU of this machine, which has {gpus}, but is '{name}' instead. Or take cpu."


def _local_rank() -> int:
    """The number of this process among those of its machine, as torchrun gives it."""
    rank = os.environ.get("LOCAL_RANK", "0")
    return int(rank) if rank.isdigit() and int(rank) < torch.cuda.device_count() else 0


@contextmanager
def with_threads(number: int | None) -> Iterator[None]:
    """Set PyTorch's threads, which are the whole process's, for a while; None leaves them as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
