"""Problems of a corpus, each with its file and line, in one list on the disk."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Literal, TextIO

from supernet.errors import UserError
from supernet.task import Skipped, Split

FILE = "problems.tsv"
"""The list's name in a manifest folder."""

Kind = Literal[
    "bad line",
    "text without audio",
    "audio without text",
    "missing file",
    "unreadable",
    "unusable audio",
    "zero length",
    "segment",
    "command",
    "duplicate",
    "sampling rate",
    "characters",
    "same audio",
    "left aside",
]
NOTED: tuple[Kind, ...] = ("sampling rate", "characters", "same audio", "left aside")
"""Kinds that leave no utterance out."""

_LONGEST_PATH = 4096
_NAMED = 3


def shorten(value: object, most: int = 60) -> str:
    """Convert ``value`` to a string of at most ``most`` characters for a message."""
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}…"


def first_few(names: Sequence[object]) -> str:
    """Join the first few of ``names`` for a message, which should say how many there are."""
    return ", ".join(shorten(name) for name in names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


class Unusable(UserError):
    """An utterance cannot be used; ``kind`` classifies the reason, and the message describes it."""

    def __init__(self, kind: Kind, what: str) -> None:
        super().__init__(what)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of one utterance or file."""

    split: Split
    id: str
    kind: Kind
    where: str
    """``file:line`` of the listing, or ``file:member``."""
    what: str
    audio: str = ""
    """The audio file concerned, if any."""

    @property
    def leaves_out(self) -> bool:
        """Whether the utterance is left out."""
        return self.kind not in NOTED


_COLUMNS = [field.name for field in fields(Problem)]


class ProblemWriter:
    """Writes a list of problems and counts them by split and kind."""

    def __init__(self, file: TextIO) -> None:
        self.numbers: Counter[tuple[Split, Kind]] = Counter()
        self._file = file
        self._file.write("\t".join(_COLUMNS) + "\n")

    def add(self, problem: Problem) -> None:
        self.numbers[problem.split, problem.kind] += 1
        # A tab or a line break would start another column or line.
        problem = replace(
            problem,
            id=shorten(problem.id, 200),
            where=shorten(problem.where, 1000),
            what=shorten(problem.what, 500),
            # A file cannot have a longer name.
            audio=problem.audio if len(problem.audio) <= _LONGEST_PATH else "",
        )
        self._file.write("\t".join(" ".join(str(value).split()) for value in astuple(problem)) + "\n")


@contextmanager
def write_problems(folder: Path) -> Iterator[ProblemWriter]:
    """Start a new list in ``folder``."""
    with open(folder / FILE, "w", encoding="utf-8", errors="backslashreplace") as file:
        yield ProblemWriter(file)


def read_problems(folder: Path) -> Iterator[Problem]:
    """Read the list in ``folder``; empty if there is none."""
    if not (folder / FILE).is_file():
        return
    with open(folder / FILE, encoding="utf-8", errors="replace") as file:
        # Another program's file may have the same name.
        if next(file, "").rstrip("\n").split("\t") != _COLUMNS:
            return
        for row in (line.rstrip("\n").split("\t") for line in file):
            if len(row) == len(_COLUMNS):
                yield Problem(*row)  # type: ignore[arg-type]


def left_out(folder: Path) -> list[Skipped]:
    """Utterances of the listing that did not enter the manifests of ``folder``."""
    return [
        Skipped(problem.id, problem.split, shorten(f"{problem.kind}: {problem.what} ({problem.where})", 2000))
        for problem in read_problems(folder)
        if problem.leaves_out
    ]


def is_outdated(folder: Path) -> bool:
    """Whether audio with a problem has changed, or has been added, since the list was written."""
    if not (folder / FILE).is_file():
        return False
    written = (folder / FILE).stat().st_mtime_ns
    files = {Path(problem.audio) for problem in read_problems(folder) if problem.audio and problem.leaves_out}
    return any(os.path.isfile(file) and file.stat().st_ctime_ns > written for file in files)
