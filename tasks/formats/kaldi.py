"""Kaldi's data folders, which ESPnet 2 uses, too: wav.scp and text and, if present, segments, utt2spk and
reco2file_and_channel.

A ``wav.scp`` may name files or input pipes that only decode a file (see ``tasks.formats.pipes``). No command
is ever run.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import groupby, pairwise
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from supernet.task import Split
from tasks.files.problems import Kind, Problem, Unusable
from tasks.formats.format import NOTHING, Format, Found, choose, single
from tasks.formats.pipes import combine_channels, parse_channel, parse_source
from tasks.listing.entries import Entries, Entry, locate_audio, numbered_lines, parse_seconds

_CHANNELS = "reco2file_and_channel"
_FILES = ("wav.scp", "segments", "text", "utt2spk", _CHANNELS)


class _Line(NamedTuple):
    """A line of one of the files."""

    key: str
    file: str
    number: int
    value: str
    """The rest of the line, after the key."""


class Kaldi(Format):
    """Data folders."""

    name = "a Kaldi data folder"

    def find(self, path: Path) -> Found:
        """Try the folder itself, its subfolders and those of ``data``, or else of ESPnet's ``dump/raw``."""
        if path.is_file():
            return single(path.parent) if path.name == "wav.scp" else NOTHING
        if (path / "wav.scp").is_file():
            return single(path)
        files = [*path.glob("*/wav.scp"), *path.glob("data/*/wav.scp")] or path.glob("dump/raw/*/wav.scp")
        return choose(file.parent for file in files)

    def read(self, path: Path, split: Split | None) -> Entries:
        """Yield utterances in the order of their names."""
        return _Folder(path, split).read()

    def files(self, path: Path) -> list[Path]:
        return [path / name for name in _FILES if (path / name).is_file()]


class _Folder:
    """A data folder that is being read.

    Kaldi sorts its files, so they are merged as they are read; a file that is not sorted is sorted in memory.
    """

    def __init__(self, path: Path, split: Split | None) -> None:
        self._path, self._split = path, split
        self._is_segmented = (path / "segments").is_file()
        # Recordings are far fewer than segments.
        self._recordings = self._by_key("wav.scp") if self._is_segmented else {}
        self._channels = self._by_key(_CHANNELS) if self._is_segmented else {}
        self._used: set[str] = set()

    def read(self) -> Entries:
        audio = ("segments",) if self._is_segmented else ("wav.scp", _CHANNELS)
        for id, lines in groupby(_merged(self._path, (*audio, "text", "utt2spk")), key=attrgetter("key")):
            found: dict[str, _Line] = {}
            for line in lines:
                if line.file in found:
                    yield self._problem("duplicate", line, f"{id!r} is in {line.file} already")
                found.setdefault(line.file, line)
            if set(found) - {"utt2spk", _CHANNELS}:
                yield self._utterance(id, found)
        for recording in sorted(set(self._recordings) - self._used):
            yield self._problem("audio without text", self._recordings[recording], "in no segment")

    def _by_key(self, name: str) -> dict[str, _Line]:
        return {line.key: line for line in _lines(self._path, name)} if (self._path / name).is_file() else {}

    def _utterance(self, id: str, found: dict[str, _Line]) -> Entry | Problem:
        line = found.get("segments") or found.get("wav.scp") or found["text"]
        text = found["text"].value if "text" in found else None
        speaker = found["utt2spk"].value if "utt2spk" in found else None
        about = (id, self._place(line))
        try:
            if line.file == "text":
                return Entry(*about, None, text, self._split, speaker=speaker)
            start, duration, channel = 0.0, None, None
            recording, channels = line, found.get(_CHANNELS)
            if line.file == "segments":
                name, start, duration, channel = _segment(line.value)
                recording, channels = self._recording(name), self._channels.get(name)
            audio, piped = _audio(recording, channels)
            channel = combine_channels(channel, piped)
        except Unusable as error:
            return self._problem(error.kind, line, str(error))
        file = locate_audio(audio, self._path)
        return Entry(*about, file, text, self._split, start, duration, speaker, channel=channel)

    def _recording(self, name: str) -> _Line:
        if name not in self._recordings:
            raise Unusable("text without audio", f"recording {name!r} is not in wav.scp")
        self._used.add(name)
        return self._recordings[name]

    def _problem(self, kind: Kind, line: _Line, what: str) -> Problem:
        return Problem(self._split or "train", line.key, kind, self._place(line), what)

    def _place(self, line: _Line) -> str:
        return f"{self._path / line.file}:{line.number}"


def _segment(value: str) -> tuple[str, float, float | None, int | None]:
    """Parse recording, start, duration and, if given, channel; an end of -1 is that of the recording."""
    try:
        recording, first, last, *more = value.split()
        start, end = parse_seconds(first), parse_seconds(last)
        (channel,) = more or ["-1"]
    except ValueError:
        what = "must be utterance, recording, start, end and perhaps channel, but is not"
        raise Unusable("bad line", what) from None
    duration = None if end == -1 else end - start
    return recording, start, duration, None if channel == "-1" else parse_channel(channel, first=0)


def _audio(recording: _Line, channels: _Line | None) -> tuple[str, int | None]:
    """The audio file of a line of ``wav.scp``, and its channel if only one is meant.

    If the line does not say, the recording's line in reco2file_and_channel may: it counts if the recording is
    a channel of a file of another name. Files with a single channel are listed there, too, by their own
    names.
    """
    file, channel = parse_source(recording.value)
    if channel is None and channels is not None:
        name, _, which = channels.value.partition(" ")
        if name == Path(file).stem != recording.key:
            channel = parse_channel(which.strip(), first=1)
    return file, channel


def _merged(path: Path, names: tuple[str, ...]) -> Iterator[_Line]:
    files = (_in_order(path, name) for name in names if (path / name).is_file())
    return heapq.merge(*files, key=attrgetter("key"))


def _in_order(path: Path, name: str) -> Iterator[_Line]:
    keys = (line.key for line in _lines(path, name))
    if all(a <= b for a, b in pairwise(keys)):
        return _lines(path, name)
    return iter(sorted(_lines(path, name), key=attrgetter("key")))


def _lines(path: Path, name: str) -> Iterator[_Line]:
    for number, line in numbered_lines(path / name):
        key, _, value = line.strip().replace("\t", " ").partition(" ")
        yield _Line(key, name, number, value.strip())
