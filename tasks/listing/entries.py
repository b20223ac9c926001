"""Entries of the listings of a corpus, before any audio is read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

from supernet.system.files import other_encoding
from supernet.task import Split, TaskError
from tasks.files.cache import digest
from tasks.files.members import Member
from tasks.files.problems import Problem

VERSION = 3
"""Raise it when the same listing yields other manifests."""

HELD_OUT = 0.1
"""Share of the training speakers held out of a public corpus for a split that was not published."""

_SPLIT_WORDS: dict[Split, tuple[str, ...]] = {
    "valid": ("valid", "validation", "val", "dev", "devel", "development"),
    "test": ("test", "testing", "tst", "eval", "evaluation"),
    "train": ("train", "training", "trn"),
}
"""Words that name splits, in order of precedence: a held-out part of the training data is held out."""

_MAX_SECONDS = 1e9
"""About 30 years."""

_AUDIO_FOLDERS = ("clips", "wav", "wavs", "audio", "data", "waves", "flac", "mp3", "recordings")
"""Folders beside a listing in which its audio is often kept, without being named in the listing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One utterance as listed."""

    id: str
    where: str
    """``file:line`` of the listing, or ``file:member``."""
    audio: Path | None
    """Its audio file, or the tar that the file is a member of; None: not given."""
    text: str | None
    split: Split | None = None
    """None: not given; it is assigned to a split."""
    start: float = 0.0
    """Start in seconds."""
    duration: float | None = None
    """Duration in seconds; None: to the end of the audio."""
    speaker: str | None = None
    part: str = ""
    """The part of its split, such as dev-clean."""
    member: Member | None = None
    """None: the audio is the whole file."""
    channel: int | None = None
    """Counted from 0; None: the mean of all."""
    is_named: bool = True
    """Whether the listing gives the name; otherwise it is derived from the audio's and may not be unique."""


Entries = Iterator[Entry | Problem]
"""Entries in the order of the listing, and problems for all that cannot be read."""


@dataclass(frozen=True)
class Source:
    """A corpus in the format in which it was published.

    Args:
        files: The files that list it; if one of them changes, it is another corpus.
        read: Reads the listing from its beginning, the same each time.
        settings: Options that affect what is read, as JSON-like values.
        held_out: Share of the training utterances taken for each of valid and test if the corpus lacks them.
            None: the splits are fixed.
        by_speaker: Whether only whole speakers are held out, however few there are.
        unread: Files that look like more listings of it and are not read.
    """

    files: tuple[Path, ...]
    read: Callable[[], Entries]
    settings: tuple[Any, ...] = ()
    held_out: float | None = None
    by_speaker: bool = False
    unread: tuple[Path, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Hash of the corpus's identity: listings with their sizes and times, and settings."""
        states = [(str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in self.files]
        unread = [str(file.absolute()) for file in self.unread]
        return digest([VERSION, self.settings, self.held_out, self.by_speaker, states, unread])


def split_of(name: str) -> Split | None:
    """The split that a name of a file, of a folder or in a table stands for, if any: ``dev_clean.json`` is
    for validation, and so is ``train_dev``.
    """
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]
    words = [word.removesuffix("set") for word in words]
    return next((split for split, known in _SPLIT_WORDS.items() if not set(known).isdisjoint(words)), None)


@contextmanager
def open_listing(path: Path) -> Iterator[TextIO]:
    """Open a listing in UTF-8, with or without a byte order mark.

    Bytes that are not UTF-8 become U+FFFD, which no text may contain.

    Raises:
        TaskError: If it is clearly in another encoding.
    """
    with open(path, "rb") as file:
        if other := other_encoding(file.read(4)):
            raise TaskError(f"`{path}` must be text in UTF-8, but is {other}. Save it as UTF-8.")
    with open(path, encoding="utf-8-sig", errors="replace") as lines:
        yield lines


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a listing that are not blank, with their numbers, counted from 1. Raises as
    ``open_listing`` does.
    """
    with open_listing(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line.rstrip("\r\n")


def parse_seconds(number: str) -> float:
    """Parse a time of a listing. Raises ``ValueError`` if it is not one."""
    value = float(number)
    if not abs(value) < _MAX_SECONDS:
        raise ValueError(f"{number!r} is not a time in seconds")
    return value


def locate_audio(name: str, folder: Path) -> Path:
    """Locate the audio file ``name`` of a listing in ``folder``.

    A relative name is relative to that folder, to one of the four above it, as recipes are often run from
    higher up, or to an audio folder in one of the first three. If there is no such file, the first place is
    returned.
    """
    above = (folder, *folder.absolute().parents[:4])
    places = (*above, *(place / beside for place in above[:3] for beside in _AUDIO_FOLDERS))
    return next((file for place in places if os.path.isfile(file := place / name)), folder / name)


def make_id(name: str, start: float = 0.0) -> str:
    """Derive a name for the utterance that begins ``start`` seconds into the audio ``name``."""
    stem = "-".join(part for part in Path(name).with_suffix("").parts if part not in ("/", "..", "."))
    return f"{stem}-{round(start * 1000):07d}" if start else stem
