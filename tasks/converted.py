"""The base class of tasks whose corpus is on the disk in a format of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from supernet.system.files import refusal
from supernet.task import ProgressCallback, TaskError
from tasks.corpus import CorpusTask
from tasks.files.cache import discard, make_once
from tasks.files.problems import is_outdated
from tasks.listing.conversion import convert
from tasks.listing.entries import Source

_NAMED = 10
"""Number of listings that a note names."""


def corpus_folder(path: Path, name: str, corpus: str, get: str) -> Path:
    """``path``, or its folder ``name`` if it has one.

    Args:
        path: The folder that was given.
        name: The folder's name as unpacked.
        corpus: The corpus, for the message.
        get: Where to get the corpus, for the message.

    Raises:
        TaskError: There is no such folder.
    """
    if why := refusal(path, "folder"):
        raise TaskError(f"`path` must be the folder of {corpus}, but {why}. {get}")
    return path / name if (path / name).is_dir() else path


def check_complete(root: Path, names: Sequence[str], layout: str, get: str) -> None:
    """Raise ``TaskError``, which describes the ``layout``, if ``root`` lacks some of ``names``."""
    if missing := [name for name in names if not (root / name).exists()]:
        lacks = f"{str(root)!r} lacks {', '.join(missing)}"
        raise TaskError(f"`path` must be the folder of {layout}, but {lacks}. {get}")


class ConvertedTask(CorpusTask):
    """A task that converts its corpus to a manifest folder in the cache, once.

    The manifests are used again as long as the listing stays the same and no audio with a problem changes.
    Nothing is ever written into the corpus's own folder.
    """

    @abstractmethod
    def find(self) -> Source:
        """Find the corpus on the disk.

        Returns:
            The corpus, with a reader of its listing.

        Raises:
            TaskError: If the corpus is missing or incomplete; the message says where to get it.
        """

    @cached_property
    def source(self) -> Source:
        """The corpus, found once. Raises as ``find`` does."""
        return self.find()

    @property
    def path(self) -> Path:
        return self.cache / f"{self.name}-{self.source.digest}"

    @property
    def unread(self) -> Sequence[Path]:
        """Files that look like more listings of the corpus and are not read."""
        return self.source.unread

    def notes(self) -> list[str]:
        if not (unread := self.unread):
            return []
        count = "1 listing is" if len(unread) == 1 else f"{len(unread)} listings are"
        return [f"{count} not read: {', '.join(map(str, unread[:_NAMED]))}{', …' if unread[_NAMED:] else ''}"]

    def make(self, report: ProgressCallback) -> None:
        discard(self.path, is_outdated)
        make_once(self.path, lambda folder: convert(self.source, folder, report), report)
