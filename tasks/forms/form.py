"""What a form is: how its listings are found, and read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from supernet.task import Split
from tasks.listing.entries import Listed, split_of

Listing = tuple[Path, Split | None]
"""A file or folder that lists utterances, and their split where its name tells."""


class Found(NamedTuple):
    """The listings of a corpus, and what looks like more of them and is not read."""

    listings: list[Listing]
    aside: list[Path]


NONE = Found([], [])


def alone(listing: Path) -> Found:
    """A listing that is named itself."""
    return Found([(listing, None)], [])


@dataclass(frozen=True)
class Form:
    """One way to list a corpus."""

    name: str
    find: Callable[[Path], Found]
    """The listings in a folder, or the one that a file is; none where it is something else."""
    read: Callable[[Path, Split | None], Listed]
    files: Callable[[Path], list[Path]]
    """The files that a listing consists of."""
    slow: bool = False
    """Whether reading opens more than lists, and is better done once."""


def choose(listings: Iterable[Path], is_listing: Callable[[Path], bool] = lambda path: True) -> Found:
    """Those named after splits; or the only one there is. A file of another name may be something else:
    ``is_listing`` tells.
    """
    found = [(listing, split_of(listing.name)) for listing in sorted(listings)]
    named: list[Listing] = [(listing, split) for listing, split in found if split is not None]
    others = [listing for listing, split in found if split is None]
    aside = [listing for listing in others if is_listing(listing)]
    if named:
        return Found(named, aside)
    only = aside or others
    return alone(only[0]) if len(only) == 1 else Found([], aside)
