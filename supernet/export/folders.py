"""Check of the folders of exports."""

from __future__ import annotations

from pathlib import Path

from supernet.errors import ArgumentError
from supernet.runtime.record import RECORD


def check_free(folder: Path, force: bool) -> None:
    """Raise ``ArgumentError`` if ``folder`` must not be written."""
    if folder.exists() and not folder.is_dir():
        raise ArgumentError(["out"], f"`out` must be a folder, but '{folder}' is a file.")
    if folder.exists() and not force:
        raise ArgumentError(
            ["force", "out"],
            f"'{folder}' must not exist yet, but does. `force` replaces it, `out` names another one.",
        )
    if folder.exists() and any(folder.iterdir()) and not (folder / RECORD).is_file():
        raise ArgumentError(
            ["force", "out"],
            f"`force` must replace an export, but '{folder}' is none: it has no {RECORD}. `out` names "
            "another one.",
        )
