"""The record of an export of several sizes, which may be damaged or untrusted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supernet.errors import UserError
from supernet.runtime.symbols import Symbols

RECORD = "export.json"
FORMATS = ("shared", "on-demand")
FEATURES = "log-mel filter bank of Kaldi"
"""The only input of networks that is computed here."""
_FILE = re.compile(r"\w[\w.,=%+-]{0,199}")


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
    """The smallest first."""

    @classmethod
    def open(cls, folder: Path, int8: bool) -> ExportFolder:
        """Read the record of ``folder``.

        Args:
            folder: A folder written by the command ``export`` with shared weights or on demand.
            int8: Whether to use the files with 8-bit weights.

        Raises:
            UserError: The folder is no such export, or has no 8-bit files.
        """
        file = folder / RECORD
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            found = _read(folder, data, int8)
        except OSError as e:
            raise UserError(f"'{file}' must be readable, but is not: {e.strerror}.") from None
        except (ValueError, TypeError, LookupError, AttributeError) as e:
            if isinstance(e, UserError):
                raise
            raise UserError(
                f"'{file}' must be the record of an export with shared weights or on demand, but is not."
            ) from None
        return found


def _read(folder: Path, data: Mapping[str, Any], int8: bool) -> ExportFolder:
    if data["format"] not in FORMATS:
        raise ValueError("of another format")
    if data["model"]["features"]["kind"] != FEATURES:
        raise UserError(f"'{folder}' must have a network that reads log-mel features, but has another one.")
    units, tokens = data["model"]["kept"], data["model"]["tokens"]
    sizes = [_size(size, units, int8, folder) for size in data["sizes"]]
    sizes.sort(key=lambda size: size.macs)
    symbols = Symbols(tuple(map(str, tokens["symbols"])), str(tokens["kind"]))
    return ExportFolder(folder, data["format"] == "on-demand", symbols, tuple(sizes))


def _size(data: Mapping[str, Any], units: list[str], int8: bool, folder: Path) -> Size:
    files = [file for file in data["files"] if file["exact"] is not int8]
    if not files:
        raise UserError(f"`int8` must be false for '{folder}', which has no files with 8-bit weights.")
    file, rate = files[0]["file"], files[0]["rate"]
    if not _FILE.fullmatch(file) or not set(data["kept"]) <= set(units):
        raise ValueError("a name of another place")
    return Size(
        str(data["budget"]),
        tuple(unit in data["kept"] for unit in units),
        int(data["params"]),
        int(data["macs"]),
        None if rate is None else float(rate),
        file,
    )
