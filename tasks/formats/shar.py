"""Lhotse's Shar: folders with cuts.000000.jsonl.gz, recording.000000.tar and so on, one folder per split.

The audio of a cut is the tar member of its name, which holds just the cut. Cuts and members may be in
different orders. Other contents of a shard (features, other fields) are not read.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from supernet.task import Split
from tasks.audio.segments import is_inside
from tasks.files.members import Member, members
from tasks.files.problems import Kind, Problem, Unusable
from tasks.formats.format import NOTHING, Format, Found, Listing, choose, single
from tasks.listing.entries import Entries, Entry, parse_seconds

_NO_AUDIO = (".json", ".nodata", ".nometa")
"""Suffixes of a recording's manifest and of the placeholders of missing fields."""


class Shar(Format):
    """Shards that Lhotse wrote with ``CutSet.to_shar``."""

    name = "Lhotse's Shar"
    is_slow = True

    def find(self, path: Path) -> Found:
        """Find the cuts of all shards in a folder, or in its subfolders named after splits."""
        if path.is_file():
            return single(path) if path in _cuts(path.parent) else NOTHING
        if own := _cuts(path):
            return Found([Listing(file, None) for file in own], [])
        folders, unread = choose(folder for folder in path.iterdir() if folder.is_dir() and is_shar(folder))
        return Found([Listing(file, split) for folder, split in folders for file in _cuts(folder)], unread)

    def read(self, path: Path, split: Split | None) -> Entries:
        """Yield utterances in the order of the cuts, then audio without a cut."""
        return _Shard(path, split).read()

    def files(self, path: Path) -> list[Path]:
        return [file for file in (path, _recordings(path)) if file.is_file()]


def is_shar(folder: Path) -> bool:
    """Whether ``folder`` holds shards."""
    return bool(_cuts(folder))


class _Shard:
    """A shard that is being read."""

    def __init__(self, path: Path, split: Split | None) -> None:
        self._path, self._split, self._tar = path, split, _recordings(path)
        self._audio: dict[str, Member] = {}
        self._used: set[str] = set()

    def read(self) -> Entries:
        if self._tar.is_file():
            yield from self._scan()
        for number, line in self._lines():
            where = f"{self._path}:{number}"
            if isinstance(line, Problem):
                yield line
                continue
            cut = _parse(line)
            id = str(cut.get("id", ""))
            self._used.add(id)
            try:
                yield self._utterance(cut, where)
            except Unusable as error:
                yield self._problem(id, error.kind, where, str(error))
        for name, member in self._audio.items():
            if name not in self._used:
                what = f"in no cut of {self._path.name}"
                yield self._problem(name, "audio without text", f"{self._tar}:{member.name}", what)

    def _scan(self) -> Iterator[Problem]:
        with open(self._tar, "rb") as file:
            for member in members(file):
                if isinstance(member, Unusable):
                    yield self._problem("", member.kind, str(self._tar), str(member))
                    continue
                place = PurePosixPath(member.name)
                name = str(place.parent / place.stem)
                if place.suffix in _NO_AUDIO:
                    continue
                if name in self._audio:
                    where = f"{self._tar}:{member.name}"
                    yield self._problem(name, "duplicate", where, f"{name!r} is in the tar already")
                self._audio.setdefault(name, member)

    def _lines(self) -> Iterator[tuple[int, str | Problem]]:
        number = 0
        try:
            with (gzip.open if self._path.suffix == ".gz" else open)(self._path, "rb") as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        yield number, line.decode(errors="replace")
        except (OSError, EOFError, zlib.error) as error:
            what = f"the cuts are truncated or damaged: {error}"
            yield number + 1, self._problem("", "unreadable", f"{self._path}:{number + 1}", what)

    def _utterance(self, cut: dict[str, Any], where: str) -> Entry:
        """Raise ``Unusable`` unless the cut and its audio are both present."""
        id, start, duration, supervision = _values(cut)
        if not self._tar.is_file():
            what = f"there is no {self._tar.name}; features alone are not enough. Write it with Lhotse: "
            raise Unusable("text without audio", what + "`cuts.to_shar(…, fields={'recording': 'flac'})`")
        if id not in self._audio:
            raise Unusable("text without audio", f"{id!r} has no audio in {self._tar.name}")
        text, speaker = supervision.get("text"), supervision.get("speaker")
        audio = self._audio[id]
        return Entry(id, where, self._tar, text, self._split, start, duration, speaker, member=audio)

    def _problem(self, id: str, kind: Kind, where: str, what: str) -> Problem:
        return Problem(self._split or "train", id, kind, where, what)


def _values(cut: dict[str, Any]) -> tuple[str, float, float, dict[str, Any]]:
    """Name, start, duration and supervision of a cut."""
    try:
        id, supervisions = str(cut["id"]), list(cut.get("supervisions") or [])
        start, duration = parse_seconds(cut["start"]), parse_seconds(cut["duration"])
        spans = [(parse_seconds(part["start"]), parse_seconds(part["duration"])) for part in supervisions]
        texts = [part.get(name) for part in supervisions for name in ("text", "speaker")]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unusable("bad line", "must be a cut of a recording in JSON, but is not") from error
    if not all(text is None or isinstance(text, str) for text in texts):
        raise Unusable("bad line", "text and speaker must be strings, but are not")
    if len(supervisions) > 1:
        what = f"{len(supervisions)} supervisions: cut it with `lhotse cut trim-to-supervisions`"
        raise Unusable("bad line", what)
    if not supervisions:
        raise Unusable("audio without text", "no supervision")
    first, length = spans[0]
    if not is_inside(first, length, duration):
        last = first + length
        raise Unusable(
            "segment",
            f"its text must lie within its {duration:g} s, but lies from {first:g} s to {last:g} s instead",
        )
    return id, start, duration, supervisions[0]


def _parse(line: str) -> dict[str, Any]:
    """Parse a cut; empty if it is malformed."""
    try:
        cut = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return cut if isinstance(cut, dict) else {}


def _cuts(folder: Path) -> list[Path]:
    """The lists of cuts in a folder that also has tars; cuts alone are a manifest."""
    files = sorted(file for file in folder.glob("cuts*.jsonl*") if file.name.startswith("cuts."))
    return files if any(folder.glob("*.tar")) else []


def _recordings(cuts: Path) -> Path:
    """The tar that belongs to ``cuts``; only the field in its name differs."""
    shard = cuts.name.removeprefix("cuts").partition(".jsonl")[0]
    return cuts.with_name(f"recording{shard}.tar")
