"""The record of an export of several sizes, which may be damaged or untrusted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from supernet.audio.specification import KIND
from supernet.errors import UserError
from supernet.runtime.symbols import SPACES, Symbols
from supernet.scoring.confidence import UNKNOWN, Confidences

RECORD = "export.json"
FORMATS = ("shared", "on-demand")
STREAMING = "sherpa-onnx-streaming"
"""The format of exports of one size that recognize while someone speaks."""
_FILE = re.compile(r"\w[\w.,=%+-]{0,199}")
_TYPES = {dict: "a mapping", list: "a list", str: "a text", int: "a whole number", bool: "true or false"}
T = TypeVar("T")


class _Damaged(ValueError):
    """The reason why a file is no record of an export."""


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


@dataclass(frozen=True)
class ExportFolder:
    """An export of several sizes."""

    folder: Path
    is_on_demand: bool
    """Whether one graph has all sizes."""
    symbols: Symbols
    sizes: tuple[Size, ...]
    """The smallest first; there is at least one."""
    confidences: Confidences = UNKNOWN
    """The calibration and the thresholds that the run had when it was exported."""

    @classmethod
    def open(cls, folder: Path, int8: bool) -> ExportFolder:
        """Read the record of ``folder``.

        Args:
            folder: A folder written by the command ``export`` with shared weights or on demand.
            int8: Whether to use the files with 8-bit weights.

        Raises:
            UserError: The folder is no such export, or has no 8-bit files.
        """
        with _reading(folder / RECORD, "with shared weights or on demand"):
            found = _read(folder, _json(folder), int8)
        if missing := [size.file for size in found.sizes if not (folder / size.file).is_file()]:
            raise UserError(f"'{folder / missing[0]}' must exist, as {RECORD} names it, but does not.")
        return found


def streaming_symbols(folder: Path) -> Symbols:
    """The output tokens of an export for streaming.

    Raises:
        UserError: The folder is no such export.
    """
    with _reading(folder / RECORD, "for streaming"):
        data = _json(folder)
        if (format := _get(data, "format", str)) != STREAMING:
            raise _Damaged(f"its `format` is {format[:40]!r}")
        return _symbols(_get(_get(data, "model", dict), "tokens", dict))


@contextmanager
def _reading(file: Path, kind: str) -> Iterator[None]:
    """Turn all that can go wrong with a record into a ``UserError``."""
    try:
        yield
    except OSError as e:
        raise UserError(f"'{file}' must be readable, but is not: {e.strerror}.") from None
    except UserError:
        raise
    except (ValueError, RecursionError) as e:
        reason = str(e) if isinstance(e, _Damaged) else "it is not JSON"
        raise UserError(f"'{file}' must be the record of an export {kind}, but {reason}.") from None


def _json(folder: Path) -> object:
    found: object = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return found


def _read(folder: Path, data: object, int8: bool) -> ExportFolder:
    if (format := _get(data, "format", str)) not in FORMATS:
        raise _Damaged(f"its `format` is {format[:40]!r}")
    model = _get(data, "model", dict)
    if _get(_get(model, "features", dict), "kind", str) != KIND:
        raise UserError(f"'{folder}' must have a network that reads log-mel features, but has another one.")
    units = _texts(model, "kept")
    sizes = [_size(size, units, int8, folder) for size in _get(data, "sizes", list)]
    if not sizes:
        raise _Damaged("it has no `sizes`")
    sizes.sort(key=lambda size: size.macs)
    symbols, confidences = _symbols(_get(model, "tokens", dict)), _confidences(data)
    return ExportFolder(folder, format == "on-demand", symbols, tuple(sizes), confidences)


def _confidences(data: object) -> Confidences:
    if not isinstance(data, dict) or data.get("confidence") is None:
        return UNKNOWN
    try:
        return Confidences.from_json(data["confidence"])
    except (ValueError, TypeError, LookupError, AttributeError):
        raise _Damaged("its `confidence` has no calibration") from None


def _symbols(data: Mapping[str, Any]) -> Symbols:
    if (kind := _get(data, "kind", str)) not in SPACES:
        raise _Damaged(f"its tokens are {kind[:40]!r}")
    return Symbols(_texts(data, "symbols"), kind)


def _size(data: object, units: tuple[str, ...], int8: bool, folder: Path) -> Size:
    files = [file for file in _get(data, "files", list) if _get(file, "exact", bool) is not int8]
    if not files:
        raise UserError(f"`int8` must be false for '{folder}', which has no files with 8-bit weights.")
    file, kept = _get(files[0], "file", str), _texts(data, "kept")
    if not _FILE.fullmatch(file):
        raise _Damaged(f"it names {file[:40]!r}, which is no file beside it")
    if unknown := [unit for unit in kept if unit not in units]:
        raise _Damaged(f"a size keeps {unknown[0][:40]!r}, which is none of its units")
    params, macs = _get(data, "params", int), _get(data, "macs", int)
    return Size(
        _get(data, "budget", str), tuple(unit in kept for unit in units), params, macs, _rate(files[0]), file
    )


def _rate(data: Mapping[str, Any]) -> float | None:
    rate = data.get("rate")
    if rate is None:
        return None
    if type(rate) not in (int, float) or not 0 <= rate < 1e6:
        raise _Damaged("a `rate` is no error rate")
    return float(rate)


def _get(data: object, key: str, kind: type[T]) -> T:
    """The value of ``key``, which must be of the type ``kind`` itself: true is no number."""
    value = data.get(key) if isinstance(data, dict) else None
    if type(value) is not kind:
        raise _Damaged(f"its `{key}` is not {_TYPES[kind]}")
    return value


def _texts(data: object, key: str) -> tuple[str, ...]:
    """Texts that can be printed."""
    found = _get(data, key, list)
    if not all(isinstance(text, str) and _is_printable(text) for text in found):
        raise _Damaged(f"its `{key}` are not texts")
    return tuple(found)


def _is_printable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
