"""Tasks whose corpus lies on the disk in a form of its own: manifests are made from it once, in the cache."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from supernet.task import ProgressCallback
from tasks.corpus import CorpusTask
from tasks.files.cache import discard, make_once
from tasks.files.problems import is_outdated
from tasks.listing.conversion import convert
from tasks.listing.entries import Source

_NAMED = 10
"""Listings in a note."""


class ConvertedTask(CorpusTask):
    """A task with a ``source``. Nothing is ever written into the corpus's own folder.

    What was made is used again as long as the listing is the same and no audio with a problem has changed.
    """

    @cached_property
    def source(self) -> Source:
        return self.find()

    @abstractmethod
    def find(self) -> Source:
        """Look for the corpus. Raises ``TaskError`` where it is not."""

    @property
    def path(self) -> Path:
        return self.cache / f"{self.name}-{self.source.digest}"

    @property
    def aside(self) -> Sequence[Path]:
        """What looks like a listing of the corpus, too, and is not read."""
        return self.source.aside

    def notes(self) -> list[str]:
        if not (aside := self.aside):
            return []
        count = "1 listing is" if len(aside) == 1 else f"{len(aside)} listings are"
        return [f"{count} not read: {', '.join(map(str, aside[:_NAMED]))}{', …' if aside[_NAMED:] else ''}"]

    def make(self, report: ProgressCallback) -> None:
        discard(self.path, is_outdated)
        make_once(self.path, lambda folder: convert(self.source, folder, report), report)
