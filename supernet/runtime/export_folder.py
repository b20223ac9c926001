"""Exports of several sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from supernet.audio.specification import KIND
from supernet.errors import ArgumentError, UserError
from supernet.runtime.fastest import fastest_here
from supernet.runtime.precision import FULL, PRECISIONS, Precision
from supernet.runtime.record import (
    BUNDLES,
    ON_DEMAND,
    RECORD,
    STREAMING,
    Damaged,
    files_of,
    get,
    record_of,
    texts,
)
from supernet.runtime.symbols import SPACES, Symbols
from supernet.scoring.confidence import UNKNOWN, Confidences


@dataclass(frozen=True)
class Size:
    """A verified subnet of an export."""

    budget: str
    """A number of units, or a limit such as ``macs=50%``."""
    kept: tuple[bool, ...]
    """Whether it keeps each unit."""
    params: int
    macs: int
    """Multiply-accumulates for 10 s of audio."""
    rate: float | None
    """The error rate on the test split, as a fraction. None: not measured."""
    file: str
    """The graph in the folder."""
    precision: Precision = "float32"
    difference: float | None = None
    """Of rounded weights: the largest difference of log-probabilities from the cut model at the export."""
    exact_file: str | None = None
    """The graph in float32, if there is one."""


@dataclass(frozen=True)
class ExportFolder:
    """An export of several sizes."""

    folder: Path
    is_on_demand: bool
    """Whether one graph has all sizes."""
    symbols: Symbols
    sizes: tuple[Size, ...]
    """The smallest first; there is at least one."""
    units: tuple[str, ...]
    """The names of all units, in the order of ``Size.kept``."""
    confidences: Confidences = UNKNOWN
    """The calibration and the thresholds that the run had when it was exported."""
    longest_seconds: float = math.inf
    """The longest recording for which the network has positions."""

    @classmethod
    def open(
        cls, folder: Path, precision: Precision | Literal["fastest"] = "float32", threads: int = 1
    ) -> ExportFolder:
        """Read the record of ``folder``.

        Args:
            folder: A folder written by the command ``export`` with shared weights or on demand, in which
                nothing leads outside of it.
            precision: The precision of the weights, or that which was measured to be the fastest for each
                size on this machine.
            threads: The threads that are to compute, on which the fastest one depends.

        Raises:
            UserError: The folder is no such export, or does not have this precision.
        """
        if precision not in (*PRECISIONS, "fastest"):
            raise _wrong_precision((*PRECISIONS, "fastest"), precision)
        with record_of(folder, "an export with shared weights or on demand") as data:
            if (format := get(data, "format", str)) not in BUNDLES:
                raise Damaged(f"its `format` is {format[:40]!r}")
            wanted = fastest_here(data, folder, threads) if precision == "fastest" else precision
            found = _read(folder, data, wanted)
        if missing := [size.file for size in found.sizes if not (folder / size.file).is_file()]:
            raise UserError(f"'{folder / missing[0]}' must exist, as {RECORD} names it, but does not.")
        return found


def streaming_symbols(folder: Path) -> Symbols:
    """The output tokens of an export for streaming.

    Raises:
        UserError: The folder is no such export.
    """
    with record_of(folder, "an export for streaming") as data:
        if (format := get(data, "format", str)) != STREAMING:
            raise Damaged(f"its `format` is {format[:40]!r}")
        return _symbols(get(get(data, "model", dict), "tokens", dict))


Wanted = Precision | Mapping[str, Precision]
"""The precision of all sizes, or of each budget."""


def _wrong_precision(known: Iterable[str], given: str, where: str = "") -> ArgumentError:
    return ArgumentError(
        ["precision"],
        f"`precision` must be one of {', '.join(known)}{where}, but is {given} instead.",
    )


def _read(folder: Path, data: Any, wanted: Wanted) -> ExportFolder:
    model = get(data, "model", dict)
    if get(get(model, "features", dict), "kind", str) != KIND:
        raise UserError(f"'{folder}' must have a network that reads log-mel features, but has another one.")
    units = texts(model, "kept")
    sizes = [_size(size, units, wanted, folder) for size in get(data, "sizes", list)]
    if not sizes:
        raise Damaged("it has no `sizes`")
    sizes.sort(key=lambda size: size.macs)
    symbols, confidences = _symbols(get(model, "tokens", dict)), _confidences(data)
    is_on_demand, longest = data["format"] == ON_DEMAND, _longest_seconds(model.get("model"))
    return ExportFolder(folder, is_on_demand, symbols, tuple(sizes), units, confidences, longest)


def _longest_seconds(settings: object) -> float:
    """The longest recording for a network of these settings, which older exports do not have."""
    frames = settings.get("max_frames") if isinstance(settings, Mapping) else None
    if not isinstance(settings, Mapping) or not isinstance(frames, int) or frames <= 0:
        return math.inf
    return frames * (0.08 if settings.get("subsampling") == 8 else 0.04)


def _confidences(data: Any) -> Confidences:
    if data.get("confidence") is None:
        return UNKNOWN
    try:
        return Confidences.from_json(data["confidence"])
    except (ValueError, TypeError, LookupError, AttributeError):
        raise Damaged("its `confidence` has no calibration") from None


def _symbols(data: Mapping[str, Any]) -> Symbols:
    if (kind := get(data, "kind", str)) not in SPACES:
        raise Damaged(f"its tokens are {kind[:40]!r}")
    return Symbols(texts(data, "symbols"), kind)


def _size(data: object, units: tuple[str, ...], wanted: Wanted, folder: Path) -> Size:
    budget, kept = get(data, "budget", str), texts(data, "kept")
    if unknown := [unit for unit in kept if unit not in units]:
        raise Damaged(f"a size keeps {unknown[0][:40]!r}, which is none of its units")
    params, macs = get(data, "params", int), get(data, "macs", int)
    files = {file.precision: file for file in files_of(data)}
    precision = wanted if isinstance(wanted, str) else wanted.get(budget)
    if not files or precision is None:
        raise Damaged(f"size {budget[:40]!r} has no files, or no fastest one")
    if precision not in files:
        raise _wrong_precision(files, precision, f" for '{folder}'")
    file, flags = files[precision], tuple(unit in kept for unit in units)
    is_rounded, exact = precision != FULL, files.get(FULL)
    return Size(
        budget,
        flags,
        params,
        macs,
        file.rate,
        file.name,
        precision,
        file.difference if is_rounded else None,
        exact.name if is_rounded and exact is not None else None,
    )
