"""The fastest precision of each size on a device, which its record of the export keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supernet.errors import ArgumentError
from supernet.runtime.precision import Precision
from supernet.runtime.record import RECORD, get, precision, record_of
from supernet.system.files import write_json
from supernet.system.machine import processor

KEY = "fastest"
SECONDS = 10
"""The duration of the audio for which times are compared."""

Times = Mapping[str, Mapping[Precision, float]]
"""Milliseconds by size and precision."""


def choose(times: Times) -> dict[str, Precision]:
    """The precision of the least time of each size."""
    return {budget: min(found, key=found.__getitem__) for budget, found in times.items()}


@dataclass(frozen=True)
class Fastest:
    """Precisions by size, and where they were the fastest."""

    machine: str
    threads: int
    precisions: Mapping[str, Precision]

    @classmethod
    def read(cls, data: Any) -> Fastest | None:
        """Read it from a record, which may have none. Raises ``Damaged``."""
        if KEY not in data:
            return None
        found = get(data, KEY, dict)
        sizes = get(found, "sizes", dict)
        precisions = {str(budget): precision(get(size, "precision", str)) for budget, size in sizes.items()}
        return cls(get(found, "machine", str), get(found, "threads", int), precisions)


def save_fastest(folder: Path, times: Times, threads: int, is_busy: bool) -> None:
    """Record the fastest precision of each size of an export on this machine.

    Args:
        folder: The folder of the export.
        times: The measured times for ``SECONDS`` of audio.
        threads: The threads that computed.
        is_busy: Whether the machine was busy, so that times are too long.

    Raises:
        UserError: The folder is no export.
    """
    with record_of(folder) as data:
        found = {**data}
    sizes = {name: {"precision": best, "ms": dict(times[name])} for name, best in choose(times).items()}
    about = {"machine": processor(), "threads": threads, "seconds": SECONDS, "busy": is_busy}
    write_json(folder / RECORD, {**found, KEY: {**about, "sizes": sizes}})


def fastest_here(data: Any, folder: Path, threads: int) -> Mapping[str, Precision]:
    """The fastest precision of each size on this machine.

    Args:
        data: The record of an export.
        folder: Its folder, for messages.
        threads: The threads that are to compute.

    Raises:
        ArgumentError: None was measured here with as many threads.
        Damaged: The record is.
    """
    found, here = Fastest.read(data), processor()
    if found is not None and (found.machine, found.threads) == (here, threads):
        return found.precisions
    but = "the fastest one was not measured"
    if found is not None:
        but += f" here ({here}, {_shown(threads)}), but on: {found.machine}, {_shown(found.threads)}"
    raise ArgumentError(
        ["precision"],
        f"`precision` must be float32, int8 or int4 for '{folder}', as {but}. To measure: supernet latency "
        f"{folder}",
    )


def _shown(threads: int) -> str:
    return f"{threads} thread{'' if threads == 1 else 's'}"
