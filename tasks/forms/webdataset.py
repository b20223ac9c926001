"""WebDataset's tar files. Members of one key, their name up to the first dot behind the folders, make an
utterance: audio, and a text in KEY.txt (or the only KEY.….txt), or a row with the columns of tasks.forms.rows
in KEY.json.

Nothing is unpacked: an utterance is read by the place of its bytes, so the tar must not be compressed.
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
from tasks.files.problems import Kind, Problem, Unusable, short, some
from tasks.forms.form import NONE, Form, Found, Listing, alone
from tasks.forms.rows import COLUMNS, entry
from tasks.forms.shar import is_shar
from tasks.listing.entries import Entry, Listed, split_of

_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")

_AUDIO = re.compile(
    r"(.*\.)?(wav|flac|ogg|oga|opus|mp3|aif[fc]?|au|snd|caf|sph|nist|w64|rf64|voc|m4a|aac|wma|webm|amr)", re.I
)
"""Behind a key. What libsndfile does not read of these is better named as such than called no audio."""

_LONGEST_TEXT = 2**20
"""Bytes."""

Sample = dict[str, Member]
"""The members of one key by what stands behind it."""


def find(path: Path) -> Found:
    """The tars in a folder or in the folders in it: those named after splits, or in such a folder; or all."""
    if path.is_file():
        return _readable(alone(path) if _is_tar(path) else NONE)
    files = sorted(file for pattern in ("*", "*/*") for file in path.glob(pattern) if _is_tar(file))
    found: list[Listing] = [(file, _split(file, path)) for file in files if not is_shar(file.parent)]
    named = [item for item in found if item[1]]
    return _readable(Found(named or found, [file for file, split in found if named and split is None]))


def read(path: Path, split: Split | None) -> Listed:
    """Utterances in the order of the tar; those whose members do not lie together come last."""
    with open(path, "rb") as file:
        none = True
        for item in _Shard(path, split, file).read():
            none = False
            yield item
        if none:
            what = "the tar has neither audio nor texts"
            yield Problem(split or "train", "", "zero length", str(path), what)


class _Shard:
    def __init__(self, path: Path, split: Split | None, file: BinaryIO) -> None:
        self._path, self._split, self._file = path, split, file

    def read(self) -> Listed:
        for found in self._samples():
            if isinstance(found, Problem):
                yield found
            elif _audio(found[1]) or _texts(found[1]):
                yield self._utterance(*found)

    def _samples(self) -> Iterator[tuple[str, Sample] | Problem]:
        """Samples as they end. What lacks audio or text waits in memory: the rest may come later."""
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
                what = f"the key {key!r} has .{suffix} before"
                yield self._problem(key, "duplicate", member.name, what)
            sample.setdefault(suffix, member)
            last = key
        yield from waiting.items()

    def _utterance(self, key: str, sample: Sample) -> Entry | Problem:
        audio = _audio(sample)
        name = (audio or list(sample.values()))[0].name
        if len(audio) > 1:
            names = some([member.name for member in audio])
            what = f"the key {short(key)!r} must have one member of audio, but has {len(audio):,} ({names})"
            return self._problem(key, "duplicate", name, f"{what}: keys end at a name's first dot")
        try:
            row = self._row(sample)
        except Unusable as error:
            return self._problem(key, error.kind, name, str(error))
        found = entry({**row, "utt_id": key}, self._place(name), self._path.parent, self._split)
        if isinstance(found, Problem):
            return replace(found, id=key)
        return replace(found, audio=self._path, member=audio[0]) if audio else found

    def _row(self, sample: Sample) -> dict[str, Any]:
        """What is known of an utterance but its audio, whose place in the world before is of no use."""
        row = self._json(sample["json"]) if "json" in sample else {}
        row = {name: value for name, value in row.items() if name not in COLUMNS["audio"]}
        texts = sorted(suffix for suffix in _texts(sample) if suffix != "json")
        if len(texts) > 1 and "txt" not in texts:
            raise Unusable("bad line", f"must have one text, but has {len(texts)} ({some(texts)})")
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
            raise Unusable("bad line", f"{member.name!r} must be a text, but has {member.size} bytes")
        return read_member(self._file, member).decode("utf-8-sig", errors="replace")

    def _problem(self, key: str, kind: Kind, name: str, what: str) -> Problem:
        return Problem(self._split or "train", key, kind, self._place(name), what)

    def _place(self, name: str) -> str:
        return f"{self._path}:{name}" if name else str(self._path)


def _split_name(name: str) -> tuple[str, str]:
    """Key and what stands behind it; nothing that we know where the name begins with a dot (a Mac's)."""
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
    """``found``, unless every one is compressed: then there is not even a first problem to list."""
    if found.listings and all(file.name.endswith(_COMPRESSED) for file, _ in found.listings):
        raise TaskError(
            f"`path` must hold uncompressed tars, but has {found.listings[0][0].name} instead. Utterances "
            "are read by the place of their bytes: unpack it to .tar (gzip -d, bzip2 -d, xz -d, zstd -d), "
            "and leave the tar as it is."
        )
    return found


WEBDATASET = Form("WebDataset's .tar files", find, read, lambda path: [path], slow=True)
