"""Manifest folders: one Lhotse CutSet per split, with relative audio paths so that a folder can be moved."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import soundfile
from lhotse import AudioSource, CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.cut import Cut
from lhotse.cut.set import deserialize_cut
from torch import Tensor

from supernet.audio.specification import SAMPLE_RATE
from supernet.task import SPLITS, NotPrepared, ProgressCallback, Skipped, Split, TaskError
from tasks.audio.cuts import sources
from tasks.files.cache import digest, file_hash, make_once
from tasks.files.lines import Lines, write_lines
from tasks.files.problems import FILE as PROBLEMS
from tasks.files.problems import left_out, shorten

VERSION = 1
"""Part of the name of a copy of the manifests; raise it when its content changes."""

LISTED = "listed"
"""The custom field of a supervision with its origin in the listing, as ``file:line``."""

PART = "part"
"""The custom field of a supervision with the part of the split it belongs to, such as test-clean."""

_REPORTED = 1000
"""Lines between two progress reports."""


def manifest_path(folder: Path, split: Split) -> Path:
    """Path of the CutSet of ``split``."""
    return folder / f"{split}.jsonl.gz"


class Cuts:
    """The cuts of a split, each created on access, with audio paths that start with the folder."""

    def __init__(self, lines: Lines, folder: Path) -> None:
        self.lines = lines
        """The cuts in JSON."""
        self._folder = folder

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, position: int) -> Cut:
        return self._cut(self.lines[position])

    def __iter__(self) -> Iterator[Cut]:
        return map(self._cut, self.lines)

    def _cut(self, line: bytes) -> Cut:
        return deserialize_cut(json.loads(line)).with_recording_path_prefix(self._folder)


class ManifestFolder:
    """A manifest folder to read from.

    Its manifests are read once, into an uncompressed copy in ``cache``; from then on, only the cuts that are
    accessed are in memory.
    """

    def __init__(self, path: Path, cache: Path) -> None:
        self.path = path
        self._cache = cache

    def prepare(self, report: ProgressCallback) -> None:
        """Make the copy unless it exists. Raises ``TaskError`` if the manifests cannot be read."""
        make_once(self._copy, lambda copy: _Copying(self.path, report).write(copy), report)

    @property
    def is_prepared(self) -> bool:
        return self._copy.is_dir()

    @cached_property
    def cuts(self) -> dict[Split, Cuts]:
        """The cuts of each split. Raises ``NotPrepared`` if there is no copy yet."""
        if not self.is_prepared:
            raise NotPrepared(f"`{self.path}` must have been prepared, but is not. Call `prepare` first.")
        return {split: Cuts(Lines(self._copy / f"{split}.jsonl"), self.path.absolute()) for split in SPLITS}

    @cached_property
    def left_out(self) -> list[Skipped]:
        """Utterances of the listing that did not enter the manifests."""
        return left_out(self.path)

    @cached_property
    def seconds(self) -> float:
        """Total duration of all cuts."""
        return float((self._copy / "seconds.txt").read_text(encoding="utf-8"))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the manifests and of the sizes and times of the audio files."""
        sha = hashlib.sha256(self._copy.name.encode())
        with open(self._copy / "audio.jsonl", encoding="utf-8") as files:
            for line in files:
                sha.update(repr(_size_and_time(self.path / json.loads(line))).encode())
        return sha.hexdigest()[:12]

    @cached_property
    def _copy(self) -> Path:
        manifests = [file_hash(_existing(self.path, split)) for split in SPLITS]
        return self._cache / f"cuts-v{VERSION}-{digest(manifests)}"


class _Copying:
    """Copies manifests; memory holds only a few bytes for each name and each audio file."""

    def __init__(self, folder: Path, report: ProgressCallback) -> None:
        self._folder, self._report = folder, report
        self._seconds, self._num_read = 0.0, 0
        self._audio: set[int] = set()

    def write(self, copy: Path) -> None:
        with open(copy / "audio.jsonl", "w", encoding="utf-8") as audio:
            for split in SPLITS:
                path, names = manifest_path(self._folder, split), array("q")
                write_lines(copy / f"{split}.jsonl", self._lines(path, names, audio))
                _check_names(names, copy / f"{split}.jsonl", path)
        (copy / "seconds.txt").write_text(repr(self._seconds), encoding="utf-8")

    def _lines(self, path: Path, names: array[int], audio: TextIO) -> Iterator[bytes]:
        number = 0
        try:
            with gzip.open(path, "rb") as file:
                for line in map(bytes.strip, file):
                    number += 1
                    if line:
                        self._note(deserialize_cut(json.loads(line)), names, audio)
                        yield line
        # JSON, gzip and Lhotse each have their own exceptions for a file that is something else.
        except Exception as error:
            why = shorten(" ".join(str(error).split()), 300)
            where = f"line {number}" if number else "it"
            raise TaskError(
                f"`{path}` must be a Lhotse CutSet, but {where} cannot be read: {why}."
            ) from error

    def _note(self, cut: Cut, names: array[int], audio: TextIO) -> None:
        _check_types(cut)
        names.append(hash(cut.id))
        self._seconds += cut.duration
        for source in sources(cut):
            if source.type == "file" and hash(source.source) not in self._audio:
                self._audio.add(hash(source.source))
                audio.write(json.dumps(source.source) + "\n")
        self._num_read += 1
        if self._num_read % _REPORTED == 0:
            self._report("reading manifests", self._num_read, 0)


def _check_types(cut: Cut) -> None:
    """Raise ``ValueError`` for fields of the wrong type that Lhotse does not check and that are used here."""
    if not isinstance(cut.id, str):
        raise ValueError(f"the name of a cut must be a string, but is {shorten(cut.id)} instead")
    if not 0 < cut.duration < math.inf:
        raise ValueError(f"{shorten(cut.id)!r} must have a duration, but has {cut.duration} s instead")
    about = [cut.custom, *(supervision.custom for supervision in cut.supervisions)]
    if not all(custom is None or isinstance(custom, dict) for custom in about):
        raise ValueError(f"`custom` of {shorten(cut.id)!r} must be an object, but is not")


def _check_names(names: array[int], copy: Path, path: Path) -> None:
    """Refuse a manifest that is empty or in which two cuts have the same name; ``names`` are hashes."""
    if not names:
        raise TaskError(f"`{path}` must hold utterances, but is empty. Every split needs some.{_hint(path)}")
    ordered = np.sort(np.frombuffer(names, np.int64))
    suspects = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if not suspects:
        return
    seen: set[str] = set()
    for line in Lines(copy):
        name = json.loads(line)["id"]
        if name in seen:
            raise TaskError(
                f"`{path}` must name every utterance differently, but has {shorten(name)!r} twice."
            )
        if hash(name) in suspects:
            seen.add(name)


def _hint(path: Path) -> str:
    problems = path.with_name(PROBLEMS)
    return f" For what was left out and why, see {problems}." if problems.is_file() else ""


def _existing(folder: Path, split: Split) -> Path:
    path = manifest_path(folder, split)
    if not path.is_file():
        raise TaskError(
            f"`{folder}` must hold the splits {', '.join(SPLITS)}, but has no {path.name}. "
            "Write each with Lhotse: `CutSet.to_file`."
        )
    return path


def _size_and_time(file: Path) -> list[int]:
    if not os.path.isfile(file):
        return []
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


@dataclass(frozen=True, slots=True)
class Clip:
    """Audio and its transcript, to be written to a manifest folder."""

    id: str
    text: str
    samples: Tensor
    """Mono, 16 kHz, in [-1, 1]."""
    speaker: str
    about: dict[str, Any]
    """Anything else that is known about it; kept as the supervision's ``custom``."""


def write_split(folder: Path, split: Split, clips: Iterable[Clip]) -> None:
    """Write the audio and the manifest of ``split``."""
    (folder / "audio" / split).mkdir(parents=True)
    cuts = CutSet.from_cuts(_write(folder, split, clip) for clip in clips)
    cuts.to_file(manifest_path(folder, split))


def _write(folder: Path, split: Split, clip: Clip) -> MonoCut:
    file = f"audio/{split}/{clip.id}.flac"
    soundfile.write(folder / file, clip.samples.numpy(), SAMPLE_RATE, subtype="PCM_16")
    num_samples = len(clip.samples)
    seconds = num_samples / SAMPLE_RATE
    source = AudioSource(type="file", channels=[0], source=file)
    supervision = SupervisionSegment(
        clip.id,
        clip.id,
        start=0,
        duration=seconds,
        text=clip.text,
        language="en",
        speaker=clip.speaker,
        custom=clip.about,
    )
    recording = Recording(clip.id, [source], SAMPLE_RATE, num_samples, seconds)
    return MonoCut(
        clip.id, start=0, duration=seconds, channel=0, supervisions=[supervision], recording=recording
    )
