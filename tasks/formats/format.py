"""The interface of formats: how the listings of a corpus are found and read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar, NamedTuple

from supernet.task import Split
from tasks.listing.entries import Entries, split_of


class Listing(NamedTuple):
    """A file or folder that lists utterances."""

    path: Path
    split: Split | None
    """Its split, if its name tells."""


class Found(NamedTuple):
    """The listings of a corpus."""

    listings: list[Listing]
    unread: list[Path]
    """Files that look like more listings of it and are not read."""


NOTHING = Found([], [])


class Format(ABC):
    """A format in which corpora are listed. Formats have no state."""

    name: ClassVar[str]
    """A noun phrase for messages."""
    is_slow: ClassVar[bool] = False
    """Whether reading opens more than lists, so that it should be done only once."""

    @abstractmethod
    def find(self, path: Path) -> Found:
        """Find the listings of a corpus.

        Args:
            path: A folder to search, or a file that may itself be a listing.

        Returns:
            The listings; none if ``path`` is in another format.

        Raises:
            TaskError: If ``path`` is in this format, but in a variant that cannot be read.
        """

    @abstractmethod
    def read(self, path: Path, split: Split | None) -> Entries:
        """Read a listing, the same each time.

        Args:
            path: The path of a listing that ``find`` has returned.
            split: Its split; None if the entries themselves say, or the splits are to be made.

        Returns:
            An entry for each utterance and a problem for everything that cannot be read, in order.

        Raises:
            TaskError: If the listing as a whole cannot be read.
        """

    def files(self, path: Path) -> list[Path]:
        """Return the files that make up the listing at ``path``."""
        return [path]


def single(listing: Path) -> Found:
    """Return a listing that the user has named."""
    return Found([Listing(listing, None)], [])


def choose(listings: Iterable[Path], is_listing: Callable[[Path], bool] = lambda path: True) -> Found:
    """Choose the listings named after splits, or else the only one.

    Args:
        listings: Candidates.
        is_listing: Whether a candidate whose name is not that of a split is a listing, not something else.
    """
    found = [Listing(listing, split_of(listing.name)) for listing in sorted(listings)]
    named = [listing for listing in found if listing.split is not None]
    others = [listing.path for listing in found if listing.split is None]
    unread = [path for path in others if is_listing(path)]
    if named:
        return Found(named, unread)
    only = unread or others
    return single(only[0]) if len(only) == 1 else Found([], unread)
