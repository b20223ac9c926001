"""What a corpus lists, before anything of it has been looked at."""

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
"""Raise it when the same listing gives other manifests."""

_SPLIT_WORDS: dict[Split, tuple[str, ...]] = {
    "valid": ("valid", "validation", "val", "dev", "devel", "development"),
    "test": ("test", "testing", "tst", "eval", "evaluation"),
    "train": ("train", "training", "trn"),
}
"""What names of splits consist of, in this order: what is held out is held out, also of what is called
train.
"""

_ETERNITY = 1e9
"""Seconds, some 30 years."""

_AUDIO_FOLDERS = ("clips", "wav", "wavs", "audio", "data", "waves", "flac", "mp3", "recordings")
"""Folders beside a listing in which people keep its audio, without saying so in the listing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One utterance as it is listed."""

    id: str
    where: str
    """``file:line`` of the listing, or ``file:member``."""
    audio: Path | None
    """Its file; a tar where it is a member of one."""
    text: str | None
    split: Split | None = None
    """None: the listing does not say; it belongs to what is divided."""
    start: float = 0.0
    """Seconds."""
    duration: float | None = None
    """Seconds; None: to the end of the audio."""
    speaker: str | None = None
    part: str = ""
    """A part of the split with a name of its own, such as dev-clean."""
    member: Member | None = None
    """None: the audio is the whole file."""
    channel: int | None = None
    """From 0 on; None: the mean of all."""
    is_named: bool = True
    """Whether the listing gives the name; if not, it is made of the audio's and is no promise."""


Listed = Iterator[Entry | Problem]
"""Entries in the order of the listing, and what stands there and is none."""


@dataclass(frozen=True)
class Source:
    """A corpus as its owner keeps it."""

    files: tuple[Path, ...]
    """Where it is listed: one of them changed is another corpus."""
    read: Callable[[], Listed]
    """Reads the listing from its beginning, each time the same."""
    settings: tuple[Any, ...] = ()
    """Options that change what is read, as JSON-like values."""
    held_out: float | None = None
    """Share of the training utterances taken for each of valid and test where the corpus has none. None:
    never, its splits are given.
    """
    aside: tuple[Path, ...] = ()
    """What looks like a listing of it, too, and is not read."""

    @cached_property
    def digest(self) -> str:
        states = [(str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in self.files]
        aside = [str(file.absolute()) for file in self.aside]
        return digest([VERSION, self.settings, self.held_out, states, aside])


def split_of(name: str) -> Split | None:
    """The split that ``name`` of a file, a folder or in a table speaks of: ``dev_clean.json`` is for
    validation, and so is ``train_dev``.
    """
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]
    words = [word.removesuffix("set") for word in words]
    return next((split for split, known in _SPLIT_WORDS.items() if not set(known).isdisjoint(words)), None)


@contextmanager
def open_listing(path: Path) -> Iterator[TextIO]:
    """A listing in UTF-8, with or without a byte order mark. Raises
    ``TaskError`` for one that is plainly in another encoding.

    What is no UTF-8 becomes U+FFFD, which no text may hold.
    """
    with open(path, "rb") as file:
        if other := other_encoding(file.read(4)):
            raise TaskError(f"`{path}` must be text in UTF-8, but is {other}. Save it as UTF-8.")
    with open(path, encoding="utf-8-sig", errors="replace") as lines:
        yield lines


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a listing with their numbers (1 is the first), without those that are blank. Raises as
    ``open_listing``.
    """
    with open_listing(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line.rstrip("\r\n")


def seconds(number: str) -> float:
    """A time that a listing tells. Raises ``ValueError`` where it is none."""
    value = float(number)
    if not abs(value) < _ETERNITY:
        raise ValueError(f"{number!r} is no time")
    return value


def locate(name: str, folder: Path) -> Path:
    """The audio file ``name`` of a listing in ``folder``.

    Relative names count from there, or from one of the four folders above, as recipes are often run from
    higher up, or from a folder of audio in one of the first three.
    """
    above = (folder, *folder.absolute().parents[:4])
    places = (*above, *(place / beside for place in above[:3] for beside in _AUDIO_FOLDERS))
    return next((file for place in places if os.path.isfile(file := place / name)), folder / name)


def id_of(name: str, start: float = 0.0) -> str:
    """A name for the utterance that begins at ``start`` of the audio ``name``."""
    stem = "-".join(part for part in Path(name).with_suffix("").parts if part not in ("/", "..", "."))
    return f"{stem}-{round(start * 1000):07d}" if start else stem
