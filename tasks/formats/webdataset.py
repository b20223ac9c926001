"""WebDataset's tar files. Members with the same key, their name up to the first dot after the folders, make
up an utterance: audio, and its text in KEY.txt (or the only KEY.….txt), or a row with the columns of
``tasks.formats.columns`` in KEY.json.

Nothing is unpacked: an utterance is read by the offset of its bytes, so the tar must not be compressed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from supernet.task import Split, TaskError
from tasks.files.members import Member, members, read_member
from tasks.files.problems import Kind, Problem, Unusable, first_few, shorten
from tasks.formats.columns import COLUMNS, entry_of
from tasks.formats.format import NOTHING, Format, Found, Listing, single
from tasks.formats.shar import is_shar
from tasks.listing.entries import Entries, Entry, split_of

_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

_AUDIO = re.compile(
    r"(.*\.)?(wav|flac|ogg|oga|opus|mp3|aif[fc]?|au|snd|caf|sph|nist|w64|rf64|voc|m4a|aac|wma|webm|amr)", re.I
)
"""Suffixes of audio, after the key, including some that libsndfile cannot read and that are reported."""

_LONGEST_TEXT = 2**20
"""Maximum size of a text in bytes."""

Sample = dict[str, Member]
"""The members of one key by their suffixes."""


class WebDataset(Format):
    """Uncompressed tar files."""

    name = "WebDataset's .tar files"
    is_slow = True

    def find(self, path: Path) -> Found:
        """Find the tars in a folder and its subfolders: those that are, or whose folder is, named after a
        split; or else all.
        """
        if path.is_file():
            return _readable(single(path) if _is_tar(path) else NOTHING)
        files = sorted(file for pattern in ("*", "*/*") for file in path.glob(pattern) if _is_tar(file))
        found = [Listing(file, _split(file, path)) for file in files if not is_shar(file.parent)]
        named = [listing for listing in found if listing.split]
        unread = [listing.path for listing in found if named and listing.split is None]
        return _readable(Found(named or found, unread))

    def read(self, path: Path, split: Split | None) -> Entries:
        """Yield utterances in the order of the tar; those whose members are scattered come last."""
        with open(path, "rb") as file:
            is_empty = True
            for item in _Shard(path, split, file).read():
                is_empty = False
                yield item
            if is_empty:
                what = "the tar has neither audio nor texts"
                yield Problem(split or "train", "", "zero length", str(path), what)


class _Shard:
    """A tar that is being read."""

    def __init__(self, path: Path, split: Split | None, file: BinaryIO) -> None:
        self._path, self._split, self._file = path, split, file

    def read(self) -> Entries:
        for found in self._samples():
            if isinstance(found, Problem):
                yield found
            elif _audio(found[1]) or _texts(found[1]):
                yield self._utterance(*found)

    def _samples(self) -> Iterator[tuple[str, Sample] | Problem]:
        """Yield samples as they are completed. Those without audio or text wait in memory for the rest."""
        waiting: dict[str, Sample] = {}
        last = ""
        for member in members(self._file):
            if isinstance(member, Unusable):
                yield self._problem("", member.kind, "", str(member))
                continue
            key, suffix = _split_name(member.name)
            if _is_whole(waiting.get(last, {})) and (key != last or suffix in waiting[last]):
                yield last, waiting.pop(last)
            sample = waiting.setdefault(key, {})
            if suffix in sample:
                what = f"the key {key!r} has a .{suffix} already"
                yield self._problem(key, "duplicate", member.name, what)
            sample.setdefault(suffix, member)
            last = key
        yield from waiting.items()

    def _utterance(self, key: str, sample: Sample) -> Entry | Problem:
        audio = _audio(sample)
        name = (audio or list(sample.values()))[0].name
        if len(audio) > 1:
            names = first_few([member.name for member in audio])
            what = f"the key {shorten(key)!r} must have one member of audio, but has {len(audio):,} ({names})"
            return self._problem(key, "duplicate", name, f"{what}: keys end at a name's first dot")
        try:
            row = self._row(sample)
        except Unusable as error:
            return self._problem(key, error.kind, name, str(error))
        found = entry_of({**row, "utt_id": key}, self._place(name), self._path.parent, self._split)
        if isinstance(found, Problem):
            return replace(found, id=key)
        return replace(found, audio=self._path, member=audio[0]) if audio else found

    def _row(self, sample: Sample) -> dict[str, Any]:
        """The row of an utterance, without the path that its audio had before it was packed."""
        row = self._json(sample["json"]) if "json" in sample else {}
        row = {name: value for name, value in row.items() if name not in COLUMNS["audio"]}
        texts = sorted(suffix for suffix in _texts(sample) if suffix != "json")
        if len(texts) > 1 and "txt" not in texts:
            raise Unusable("bad line", f"must have one text, but has {len(texts)} ({first_few(texts)})")
        suffix = "txt" if "txt" in texts else next(iter(texts), "")
        return row | ({"text": self._text(sample[suffix])} if suffix else {})

    def _json(self, member: Member) -> dict[str, Any]:
        try:
            row = json.loads(self._text(member))
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise Unusable("bad line", f"{member.name!r} must be a JSON object, but is not")
        return row

    def _text(self, member: Member) -> str:
        if member.size > _LONGEST_TEXT:
            raise Unusable(
                "bad line",
                f"{member.name!r} must be at most {_LONGEST_TEXT} bytes of text, but has {member.size}",
            )
        return read_member(self._file, member).decode("utf-8-sig", errors="replace")

    def _problem(self, key: str, kind: Kind, name: str, what: str) -> Problem:
        return Problem(self._split or "train", key, kind, self._place(name), what)

    def _place(self, name: str) -> str:
        return f"{self._path}:{name}" if name else str(self._path)


def _split_name(name: str) -> tuple[str, str]:
    """Split a name into key and suffix, which is unknown if the name begins with a dot (macOS)."""
    folder, slash, file = name.removeprefix("./").rpartition("/")
    key, _, suffix = file.partition(".")
    return folder + slash + key, suffix.lower() if key else f".{suffix}."


def _audio(sample: Sample) -> list[Member]:
    return [member for suffix, member in sample.items() if _AUDIO.fullmatch(suffix)]


def _texts(sample: Sample) -> set[str]:
    return {suffix for suffix in sample if suffix in ("txt", "json") or suffix.endswith(".txt")}


def _is_whole(sample: Sample) -> bool:
    return bool(_audio(sample) and _texts(sample))


def _is_tar(file: Path) -> bool:
    return file.name.endswith((".tar", *_COMPRESSED)) and file.is_file()


def _split(file: Path, folder: Path) -> Split | None:
    return split_of(file.name) or (None if file.parent == folder else split_of(file.parent.name))


def _readable(found: Found) -> Found:
    """Return ``found``, or raise ``TaskError`` if every tar is compressed."""
    if found.listings and all(one.path.name.endswith(_COMPRESSED) for one in found.listings):
        raise TaskError(
            f"`path` must hold uncompressed tars, but has {found.listings[0].path.name} instead. Utterances "
            "are read by the offset of their bytes: decompress them to .tar (gzip -d, bzip2 -d, xz -d, "
            "zstd -d), and do not unpack the tars."
        )
    return found
