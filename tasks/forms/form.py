"""What a form is: how its listings are found, and read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from supernet.batch import Split
from tasks.entries import Listed, split_of

Listing = tuple[Path, Split | None]
"""A file or folder that lists utterances, and their split where its name tells."""


@dataclass(frozen=True)
class Form:
    """One way to list a corpus."""

    name: str
    find: Callable[[Path], list[Listing]]
    """The listings in a folder, or the one that a file is; none where it is something else."""
    read: Callable[[Path, Split | None], Listed]
    files: Callable[[Path], list[Path]]
    """The files that a listing consists of."""
    slow: bool = False
    """Whether reading opens more than lists, and is better done once."""


def choose(listings: Iterable[Path]) -> list[Listing]:
    """Those named after splits; or the only one there is."""
    found = [(listing, split_of(listing.name)) for listing in sorted(listings)]
    named: list[Listing] = [(listing, split) for listing, split in found if split is not None]
    return named or (found if len(found) == 1 else [])
