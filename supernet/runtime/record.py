"""The record of an export, ``export.json``, which may be damaged or untrusted: its files and its graphs."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from supernet.errors import UserError
from supernet.runtime.precision import PRECISIONS, Precision
from supernet.system.folders import check_closed

RECORD = "export.json"
ON_DEMAND = "on-demand"
BUNDLES = ("shared", ON_DEMAND)
"""The formats of exports of several sizes."""
STREAMING = "sherpa-onnx-streaming"
"""The format of exports of one size that recognize while someone speaks."""
_FILE = re.compile(r"\w[\w.,=%+-]{0,199}")
_TYPES = {dict: "a mapping", list: "a list", str: "a text", int: "a whole number", bool: "true or false"}
T = TypeVar("T")


class Damaged(ValueError):
    """The reason why a file is no record of an export."""


@dataclass(frozen=True)
class RecordedFile:
    """A file of an export that has a network."""

    name: str
    precision: Precision
    rate: float | None
    """The error rate on the test split, as a fraction. None: not measured."""
    difference: float | None
    """The largest difference of log-probabilities from the cut model on noise. None: not known."""


@dataclass(frozen=True)
class SizeGraph:
    """A graph that runs a size of an export."""

    budget: str
    size: int
    """Units."""
    precision: Precision
    file: Path
    kept: tuple[bool, ...]
    """The input `kept` of a graph on demand; empty otherwise."""
    is_bundled: bool
    """Whether the export has several sizes."""
    difference: float | None = None
    """As in ``RecordedFile``."""


def is_export(folder: Path) -> bool:
    return (folder / RECORD).is_file()


@contextlib.contextmanager
def record_of(folder: Path, what: str = "an export") -> Iterator[Any]:
    """Yield the content of the record of ``folder``, whose reader raises ``Damaged`` where it must.

    Args:
        folder: The folder of an export, in which nothing may lead outside of it.
        what: A description of the expected export, for messages.

    Raises:
        UserError: There is no such record.
    """
    check_closed(folder)
    file = folder / RECORD
    try:
        yield json.loads(file.read_text(encoding="utf-8"))
    except OSError as e:
        raise UserError(f"'{file}' must be readable, but is not: {e.strerror}.") from None
    except UserError:
        raise
    except (ValueError, RecursionError) as e:
        reason = str(e) if isinstance(e, Damaged) else "it is not JSON"
        raise UserError(f"'{file}' must be the record of {what}, but {reason}.") from None


def graphs_of(folder: Path) -> list[SizeGraph]:
    """The graphs of an export: each size in each precision; none if it is not for onnxruntime,
    or for streaming.

    Raises:
        UserError: The folder is no export.
    """
    with record_of(folder) as data:
        model, format = get(data, "model", dict), data.get("format")
        units, is_on_demand = texts(model, "kept"), format == ON_DEMAND
        if format == STREAMING:  # which reads chunks instead of recordings
            return []
        sizes = get(data, "sizes", list) if "sizes" in data else [_only_size(data, model)]
        return [
            SizeGraph(
                get(size, "budget", str),
                len(kept := texts(size, "kept")),
                file.precision,
                folder / file.name,
                tuple(unit in kept for unit in units) if is_on_demand else (),
                "sizes" in data,
                file.difference,
            )
            for size in sizes
            for file in files_of(size)
            if file.name.endswith(".onnx")
        ]


def _only_size(data: Any, model: Any) -> Any:
    """The size of an export that has one, described as in exports of several."""
    budget = get(get(model, "provenance", dict), "budget", str)
    return {"budget": budget, "kept": model["kept"], "files": data.get("files")}


def files_of(data: object) -> list[RecordedFile]:
    """The files of a size."""
    return [_file(file) for file in get(data, "files", list)]


def _file(data: object) -> RecordedFile:
    name = get(data, "file", str)
    if not _FILE.fullmatch(name):
        raise Damaged(f"it names {name[:40]!r}, which is no file beside it")
    return RecordedFile(
        name,
        _precision(data),
        _amount(data, "rate", "a `rate` is no error rate"),
        _amount(data, "difference", "a `difference` is none"),
    )


def _precision(data: Any) -> Precision:
    if "precision" not in data:  # an older export
        return "float32" if get(data, "exact", bool) else "int8"
    return precision(get(data, "precision", str))


def precision(name: str) -> Precision:
    """The precision of a name. Raises ``Damaged`` if there is none."""
    for known in PRECISIONS:
        if name == known:
            return known
    raise Damaged(f"a `precision` is {name[:40]!r}")


def _amount(data: Any, key: str, problem: str) -> float | None:
    value = data.get(key)
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value < 1e6:
        raise Damaged(problem)
    return float(value)


def get(data: object, key: str, kind: type[T]) -> T:
    """The value of ``key``, which must be of the type ``kind`` itself: true is no number.

    Raises:
        Damaged: There is none.
    """
    value = data.get(key) if isinstance(data, dict) else None
    if type(value) is not kind:
        raise Damaged(f"its `{key}` is not {_TYPES[kind]}")
    return value


def texts(data: object, key: str) -> tuple[str, ...]:
    """Texts that can be printed.

    Raises:
        Damaged: ``key`` has none.
    """
    found = get(data, key, list)
    if not all(isinstance(text, str) and _is_printable(text) for text in found):
        raise Damaged(f"its `{key}` are not texts")
    return tuple(found)


def _is_printable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
