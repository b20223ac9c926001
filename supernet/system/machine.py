"""The name of this machine. Imports no torch, as devices do not have it."""

from __future__ import annotations

import platform
from pathlib import Path

_PROCESSORS = Path("/proc/cpuinfo")
_BOARD = Path("/proc/device-tree/model")


def processor(processors: Path = _PROCESSORS, board: Path = _BOARD) -> str:
    """The name of this machine's processor, or of its board where Linux has no name for the processor, as on
    a Raspberry Pi.
    """
    lines = processors.read_text(encoding="utf-8").splitlines() if processors.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    if not names and board.is_file():
        names = [board.read_text(encoding="utf-8").strip("\0\n ")]
    return next(filter(None, names), platform.processor() or platform.machine())
