"""Kaldi's data folders: wav.scp and text and, where they are, segments and utt2spk. ESPnet 2 has the same.

A ``wav.scp`` may name files, or commands that only decode one (``flac -c -d FILE |``, ``sph2pipe … FILE |``,
``cat FILE |``): then that file is read. No command is ever run.
"""

from __future__ import annotations

import heapq
import shlex
from collections.abc import Iterator
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path

from supernet.batch import Split
from tasks.entries import Entry, Listed, locate, numbered_lines, seconds
from tasks.forms.form import Form, Listing, choose
from tasks.problems import Kind, Problem, Unusable

_FILES = ("wav.scp", "segments", "text", "utt2spk")
_DECODERS = ("flac", "sph2pipe", "cat")
_NOT_ALONE = set("|;&<>$`()")
"""Signs of a shell that make a command more than one program with its arguments."""

Line = tuple[str, str, int, str]
"""Key, file, number of the line, and what stands behind the key."""


def find(path: Path) -> list[Listing]:
    """The folder itself, or those in it or in its folder ``data``."""
    if path.is_file():
        return [(path.parent, None)] if path.name == "wav.scp" else []
    if (path / "wav.scp").is_file():
        return [(path, None)]
    return choose(file.parent for folder in (path, path / "data") for file in folder.glob("*/wav.scp"))


def read(path: Path, split: Split | None) -> Listed:
    """Utterances in the order of their names."""
    return _Folder(path, split).read()


class _Folder:
    """A data folder being read.

    Its files are sorted, in Kaldi, so that they are read side by side; one that is not is sorted in memory.
    """

    def __init__(self, path: Path, split: Split | None) -> None:
        self._path, self._split = path, split
        self._segmented = (path / "segments").is_file()
        # By recording, of which there are far fewer than segments.
        self._recordings = {line[0]: line for line in _lines(path, "wav.scp")} if self._segmented else {}
        self._used: set[str] = set()

    def read(self) -> Listed:
        names = _FILES[1:] if self._segmented else ("wav.scp", "text", "utt2spk")
        for id, lines in groupby(_merged(self._path, names), key=itemgetter(0)):
            found: dict[str, Line] = {}
            for line in lines:
                if line[1] in found:
                    yield self._problem("duplicate", line, f"{id!r} is in {line[1]} before")
                found.setdefault(line[1], line)
            if set(found) != {"utt2spk"}:
                yield self._utterance(id, found)
        for recording in sorted(set(self._recordings) - self._used):
            yield self._problem("audio without text", self._recordings[recording], "in no segment")

    def _utterance(self, id: str, found: dict[str, Line]) -> Entry | Problem:
        line = found.get("segments") or found.get("wav.scp") or found["text"]
        try:
            audio, start, duration = self._audio(line)
        except Unusable as error:
            return self._problem(error.kind, line, str(error))
        text = found["text"][3] if "text" in found else None
        speaker = found["utt2spk"][3] if "utt2spk" in found else None
        return Entry(id, self._place(line), audio, text, self._split, start, duration, speaker)

    def _audio(self, line: Line) -> tuple[Path | None, float, float | None]:
        """The file of an utterance, its start and its duration."""
        if line[1] == "text":
            return None, 0.0, None
        if line[1] == "wav.scp":
            return locate(_file(line[3]), self._path), 0.0, None
        recording, start, duration = _segment(line[3])
        if recording not in self._recordings:
            raise Unusable("text without audio", f"recording {recording!r} is not in wav.scp")
        self._used.add(recording)
        return locate(_file(self._recordings[recording][3]), self._path), start, duration

    def _problem(self, kind: Kind, line: Line, what: str) -> Problem:
        return Problem(self._split or "train", line[0], kind, self._place(line), what)

    def _place(self, line: Line) -> str:
        return f"{self._path / line[1]}:{line[2]}"


def _segment(behind: str) -> tuple[str, float, float | None]:
    """Recording, start and duration; an end of -1 is the recording's."""
    try:
        recording, first, last = behind.split()
        start, end = seconds(first), seconds(last)
    except ValueError:
        raise Unusable("bad line", "must be utterance, recording, start and end, but is not") from None
    return recording, start, None if end == -1 else end - start


def _file(behind: str) -> str:
    """The audio file that an entry of ``wav.scp`` reads."""
    if not behind.endswith("|"):
        return behind
    command = behind.removesuffix("|").strip()
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if len(words) > 1 and Path(words[0]).name in _DECODERS and not _NOT_ALONE & set(command):
        return words[-1]
    raise Unusable(
        "command", f"not run, as a listing may be a stranger's: {command}. Run it, and name the file"
    )


def _merged(path: Path, names: tuple[str, ...]) -> Iterator[Line]:
    files = (_in_order(path, name) for name in names if (path / name).is_file())
    return heapq.merge(*files, key=itemgetter(0))


def _in_order(path: Path, name: str) -> Iterator[Line]:
    keys = (line[0] for line in _lines(path, name))
    if all(a <= b for a, b in pairwise(keys)):
        return _lines(path, name)
    return iter(sorted(_lines(path, name), key=itemgetter(0)))


def _lines(path: Path, name: str) -> Iterator[Line]:
    for number, line in numbered_lines(path / name):
        key, _, behind = line.strip().replace("\t", " ").partition(" ")
        yield key, name, number, behind.strip()


KALDI = Form(
    "a Kaldi data folder",
    find,
    read,
    lambda path: [path / name for name in _FILES if (path / name).is_file()],
)
