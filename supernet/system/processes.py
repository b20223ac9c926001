"""The processes of a training: those that torchrun starts, or that share the cores of a machine."""

from __future__ import annotations

import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from supernet.errors import UserError

MOST = 8
"""The greatest number of processes unless a setting says otherwise: each should have several utterances."""
_CONTROL_GROUPS = Path("/sys/fs/cgroup")


def is_main_process() -> bool:
    """Whether this is the first of the run's processes, which writes and prints for all of them."""
    return os.environ.get("RANK", "0") == "0"


def num_processes() -> int:
    """The number of processes of the run that torchrun has started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@dataclass(frozen=True)
class Processes:
    """The processes among which a training on this machine is divided."""

    count: int = 1
    num_threads: int | None = None
    """PyTorch's threads in each of them. None: as many as it chooses."""


ONE = Processes()


def processes_for(asked: int | Literal["auto"], num_threads: int | None, is_on_cpu: bool) -> Processes:
    """The processes among which a training is divided.

    Args:
        asked: Their number; ``auto``: one per core, with as many cores as PyTorch would have threads, but one
            elsewhere than on Linux, where it is not safe to fork a process that has computed.
        num_threads: The threads in each. None: the cores are shared among them.
        is_on_cpu: Whether the training is on the CPU.

    Raises:
        UserError: The training cannot be divided.
    """
    under_torchrun = "RANK" in os.environ
    if under_torchrun or not is_on_cpu:
        if asked not in ("auto", 1):
            where = "under torchrun, which starts the processes" if under_torchrun else "on a GPU"
            raise UserError(f"`train.processes` must be auto or 1 {where}, but is {asked} instead.")
        return Processes(1, num_threads)
    cores = num_cores()
    most = min(cores // (num_threads or 1), MOST) if sys.platform == "linux" else 1
    count = max(1, most) if asked == "auto" else asked
    return Processes(count, num_threads if count == 1 else num_threads or max(1, cores // count))


def num_cores() -> int:
    """The number of cores to compute on.

    The least of PyTorch's number of threads, which heeds OMP_NUM_THREADS, the cores that this process may
    run on, and the quota of its control group.
    """
    import torch  # takes long, and only trainings ask

    limits = [float(torch.get_num_threads()), quota()]
    if hasattr(os, "sched_getaffinity"):
        limits.append(len(os.sched_getaffinity(0)))
    return max(1, int(min(limit for limit in limits if limit is not None)))


def quota(root: Path = _CONTROL_GROUPS, own: Path = Path("/proc/self/cgroup")) -> float | None:
    """The number of cores that the control group of this process, or one around it, may use; None: any."""
    lines = own.read_text(encoding="utf-8").splitlines() if own.is_file() else []
    group = root / next((line[4:] for line in lines if line.startswith("0::/")), "")
    found = []
    for folder in (group, *group.parents):
        file = folder / "cpu.max"
        if folder.is_relative_to(root) and file.is_file():
            most, _, period = file.read_text(encoding="utf-8").partition(" ")
            found += [int(most) / int(period)] if most.isdigit() else []
    return min(found, default=None)


def peak_memory() -> int:
    """The peak of this process's memory in bytes.

    On Linux, ``getrusage`` includes the memory that the parent had at the start, so ``/proc`` is read if it
    exists.
    """
    status = Path("/proc/self/status")
    for line in status.read_text(encoding="utf-8").splitlines() if status.is_file() else ():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
