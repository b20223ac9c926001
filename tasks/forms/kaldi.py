"""Kaldi's data folders: wav.scp and text and, where they are, segments, utt2spk and reco2file_and_channel.
ESPnet 2 has the same.

A ``wav.scp`` may name files, or commands that only decode one (see tasks.forms.commands). No command is ever
run.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path

from supernet.task import Split
from tasks.files.problems import Kind, Problem, Unusable
from tasks.forms.commands import channel_of, file_of, one_channel
from tasks.forms.form import NONE, Form, Found, alone, choose
from tasks.listing.entries import Entry, Listed, locate, numbered_lines, seconds

_CHANNELS = "reco2file_and_channel"
_FILES = ("wav.scp", "segments", "text", "utt2spk", _CHANNELS)

Line = tuple[str, str, int, str]
"""Key, file, number of the line, and what stands behind the key."""


def find(path: Path) -> Found:
    """The folder itself, or those in it or in its folder ``data``, or else in ESPnet's ``dump/raw``."""
    if path.is_file():
        return alone(path.parent) if path.name == "wav.scp" else NONE
    if (path / "wav.scp").is_file():
        return alone(path)
    files = [*path.glob("*/wav.scp"), *path.glob("data/*/wav.scp")] or path.glob("dump/raw/*/wav.scp")
    return choose(file.parent for file in files)


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
        self._recordings = self._by_name("wav.scp") if self._segmented else {}
        self._channels = self._by_name(_CHANNELS) if self._segmented else {}
        self._used: set[str] = set()

    def read(self) -> Listed:
        more = ("segments",) if self._segmented else ("wav.scp", _CHANNELS)
        names = (*more, "text", "utt2spk")
        for id, lines in groupby(_merged(self._path, names), key=itemgetter(0)):
            found: dict[str, Line] = {}
            for line in lines:
                if line[1] in found:
                    yield self._problem("duplicate", line, f"{id!r} is in {line[1]} before")
                found.setdefault(line[1], line)
            if set(found) - {"utt2spk", _CHANNELS}:
                yield self._utterance(id, found)
        for recording in sorted(set(self._recordings) - self._used):
            yield self._problem("audio without text", self._recordings[recording], "in no segment")

    def _by_name(self, name: str) -> dict[str, Line]:
        return {line[0]: line for line in _lines(self._path, name)} if (self._path / name).is_file() else {}

    def _utterance(self, id: str, found: dict[str, Line]) -> Entry | Problem:
        line = found.get("segments") or found.get("wav.scp") or found["text"]
        text = found["text"][3] if "text" in found else None
        speaker = found["utt2spk"][3] if "utt2spk" in found else None
        about = (id, self._place(line))
        try:
            if line[1] == "text":
                return Entry(*about, None, text, self._split, speaker=speaker)
            start, duration, channel = 0.0, None, None
            recording, place = line, found.get(_CHANNELS)
            if line[1] == "segments":
                name, start, duration, channel = _segment(line[3])
                recording, place = self._recording(name), self._channels.get(name)
            audio, own = _audio(recording, place)
            channel = one_channel(channel, own)
        except Unusable as error:
            return self._problem(error.kind, line, str(error))
        file = locate(audio, self._path)
        return Entry(*about, file, text, self._split, start, duration, speaker, channel=channel)

    def _recording(self, name: str) -> Line:
        if name not in self._recordings:
            raise Unusable("text without audio", f"recording {name!r} is not in wav.scp")
        self._used.add(name)
        return self._recordings[name]

    def _problem(self, kind: Kind, line: Line, what: str) -> Problem:
        return Problem(self._split or "train", line[0], kind, self._place(line), what)

    def _place(self, line: Line) -> str:
        return f"{self._path / line[1]}:{line[2]}"


def _segment(behind: str) -> tuple[str, float, float | None, int | None]:
    """Recording, start, duration and, as there may be one, channel; an end of -1 is the recording's."""
    try:
        recording, first, last, *more = behind.split()
        start, end = seconds(first), seconds(last)
        (channel,) = more or ["-1"]
    except ValueError:
        what = "must be utterance, recording, start, end and perhaps channel, but is not"
        raise Unusable("bad line", what) from None
    duration = None if end == -1 else end - start
    return recording, start, duration, None if channel == "-1" else channel_of(channel, first=0)


def _audio(recording: Line, place: Line | None) -> tuple[str, int | None]:
    """The audio file of a line of ``wav.scp``, and the channel of it that is meant if it is one.

    Where the line does not say, its ``place`` in reco2file_and_channel may: if the recording is a channel of
    a file of another name (with its own name, files of one channel are listed, too).
    """
    file, channel = file_of(recording[3])
    if channel is None and place is not None:
        name, _, which = place[3].partition(" ")
        if name == Path(file).stem != recording[0]:
            channel = channel_of(which.strip(), first=1)
    return file, channel


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
