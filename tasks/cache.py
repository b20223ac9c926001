"""Folders that are complete or absent, whoever is interrupted and however many processes make them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from supernet.files import whole_folder


def make_once(folder: Path, build: Callable[[Path], None]) -> None:
    """Have ``build`` fill ``folder`` unless it is there already.

    It is filled under another name beside its place and renamed when complete. Of several processes the first
    to finish wins; the others throw away what they made, which is the same.
    """
    if folder.exists():
        return
    with whole_folder(folder, replaces=False) as partial:
        build(partial)


def discard(folder: Path, is_outdated: Callable[[Path], bool]) -> None:
    """Remove ``folder`` if it is outdated. Of several processes none removes what another has made anew."""
    if not is_outdated(folder):
        return
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.outdated")
    try:
        os.rename(folder, aside)
    except FileNotFoundError:
        return  # another process was quicker
    if not is_outdated(aside):
        _rename(aside, folder)
    shutil.rmtree(aside, ignore_errors=True)


def _rename(partial: Path, folder: Path) -> None:
    try:
        os.rename(partial, folder)
    except OSError:
        if not folder.exists():
            raise


def digest(content: object) -> str:
    """A short name for JSON-like ``content``."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
