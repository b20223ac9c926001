"""Navigation entries that are folders: ``Results: results/*`` lists its pages; mkdocs runs this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Put the pages of a folder in the place of its pattern."""
    root = Path(config["docs_dir"])
    config["nav"] = [_expanded(entry, root) for entry in config["nav"]]
    return config


def _expanded(entry: Any, root: Path) -> Any:
    if isinstance(entry, list):
        return [_expanded(inner, root) for inner in entry]
    if isinstance(entry, dict):
        return {title: _expanded(inner, root) for title, inner in entry.items()}
    return _pages(root / entry.removesuffix("*"), root) if entry.endswith("/*") else entry


def _pages(folder: Path, root: Path) -> list[Any]:
    """The index of a folder, its pages with the newest first, then those of the folders in it."""
    files = sorted(folder.glob("*.md"), key=lambda file: file.name, reverse=True)
    files.sort(key=lambda file: file.name != "index.md")
    pages: list[Any] = [file.relative_to(root).as_posix() for file in files]
    inner = sorted(path for path in folder.iterdir() if any(path.glob("*.md")))
    return pages + [{path.name.capitalize(): _pages(path, root)} for path in inner]
