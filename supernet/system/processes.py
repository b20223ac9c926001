"""The processes of one training, as torchrun starts them."""

from __future__ import annotations

import os


def is_main_process() -> bool:
    """Whether this is the first of the run's processes, which writes and prints for all of them."""
    return os.environ.get("RANK", "0") == "0"


def num_processes() -> int:
    """The number of processes of the run."""
    return int(os.environ.get("WORLD_SIZE", "1"))
