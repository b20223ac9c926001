"""What is wrong with a corpus: every problem with its file and line, in one list on the disk."""

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


def short(value: object, most: int = 60) -> str:
    """``value`` as a message shows it: however long it is, no more than ``most`` signs of it."""
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}…"


def some(names: Sequence[object]) -> str:
    """The first few of ``names``, as a list in a message; how many there are is for the message to say."""
    return ", ".join(short(name) for name in names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


class Unusable(UserError):
    """What keeps one utterance from being used: its kind, and the rest in words."""

    def __init__(self, kind: Kind, what: str) -> None:
        super().__init__(what)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Problem:
    """One line of the list."""

    split: Split
    id: str
    kind: Kind
    where: str
    """``file:line`` of the listing, or ``file:member``."""
    what: str
    audio: str = ""
    """The audio file that it is about, if any."""

    @property
    def leaves_out(self) -> bool:
        return self.kind not in NOTED


_COLUMNS = [field.name for field in fields(Problem)]


class Problems:
    """The list while it is written, and how many there are of each split and kind."""

    def __init__(self, file: TextIO) -> None:
        self.numbers: Counter[tuple[Split, Kind]] = Counter()
        self._file = file
        self._file.write("\t".join(_COLUMNS) + "\n")

    def add(self, problem: Problem) -> None:
        self.numbers[problem.split, problem.kind] += 1
        # A tab or a line break would become another column or line.
        problem = replace(
            problem,
            id=short(problem.id, 200),
            where=short(problem.where, 1000),
            what=short(problem.what, 500),
            # No file can have a longer name.
            audio=problem.audio if len(problem.audio) <= _LONGEST_PATH else "",
        )
        self._file.write("\t".join(" ".join(str(value).split()) for value in astuple(problem)) + "\n")


@contextmanager
def open_problems(folder: Path) -> Iterator[Problems]:
    """A new list in ``folder``."""
    with open(folder / FILE, "w", encoding="utf-8", errors="backslashreplace") as file:
        yield Problems(file)


def read_problems(folder: Path) -> Iterator[Problem]:
    """What the list in ``folder`` holds; nothing where there is none."""
    if not (folder / FILE).is_file():
        return
    with open(folder / FILE, encoding="utf-8", errors="replace") as file:
        # Somebody else's file of that name is not ours to read.
        if next(file, "").rstrip("\n").split("\t") != _COLUMNS:
            return
        for row in (line.rstrip("\n").split("\t") for line in file):
            if len(row) == len(_COLUMNS):
                yield Problem(*row)  # type: ignore[arg-type]


def left_out(folder: Path) -> list[Skipped]:
    """The utterances that never came into the manifests of ``folder``."""
    return [
        Skipped(problem.id, problem.split, short(f"{problem.kind}: {problem.what} ({problem.where})", 2000))
        for problem in read_problems(folder)
        if problem.leaves_out
    ]


def is_outdated(folder: Path) -> bool:
    """Whether audio that had a problem has changed, or come, since the list was written."""
    if not (folder / FILE).is_file():
        return False
    written = (folder / FILE).stat().st_mtime_ns
    files = {Path(problem.audio) for problem in read_problems(folder) if problem.audio and problem.leaves_out}
    return any(os.path.isfile(file) and file.stat().st_ctime_ns > written for file in files)
