"""AN4 (Acero, CMU, about 1991; github.com/cmusphinx/an4): spelled words, numbers and dates, 0.8 hours."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import soundfile
from pydantic import Field

from supernet.audio.specification import SAMPLE_RATE
from supernet.task import Split
from tasks.audio.raw import read_raw
from tasks.converted import ConvertedTask, check_complete, corpus_folder
from tasks.files.cache import make_once
from tasks.files.problems import Problem
from tasks.formats.tables import Tables
from tasks.listing.entries import HELD_OUT, Entries, Entry, Source, numbered_lines
from tasks.options import CorpusOptions

_GET = "Get it from github.com/cmusphinx/an4, and give the folder with `task.path=FOLDER`."
SETS: dict[str, Split] = {"an4_train": "train", "an4_test": "test"}
_SUFFIXES = (".sph", ".wav", ".flac", ".raw")
"""Suffixes of the archives in which the corpus is published, and of lossless copies."""

# A line such as <s> ENTER SIX </s> (an64-fash-b).
_LINE = re.compile(r"(?P<text>.*)\((?P<name>[^()]+)\)\s*")
_MARK = re.compile(r"</?s>|<sil>", re.IGNORECASE)


class An4Options(CorpusOptions):
    """Options of AN4."""

    path: Path = Path("an4")
    """Folder with etc and wav, or with the table manifest.csv of path, text, speaker and split."""
    batch_seconds: float = Field(default=56.0, gt=0)
    """Seconds of speech per training batch and rank."""


class An4(ConvertedTask):
    """The corpus as unpacked, in NIST, WAV, FLAC or raw audio of either byte order, or as a table.

    Test is the corpus's own. A tenth of its training speakers, chosen by a hash of their names, is for
    validation, in both layouts the same. Transcripts are converted to lower case, without the marks of
    sentence ends and silence; each spelled letter is a word.
    """

    name = "an4"
    Options = An4Options
    options: An4Options

    def find(self) -> Source:
        root = corpus_folder(self.options.path, "an4", "AN4", _GET)
        if (table := root / "manifest.csv").is_file():
            return Source((table,), lambda: _table(table), held_out=HELD_OUT, by_speaker=True)
        lists = [f"etc/{name}.{kind}" for name in SETS for kind in ("fileids", "transcription")]
        check_complete(root, [*lists, "wav"], "AN4 with etc and wav, or with manifest.csv", _GET)
        # What is copied is another corpus as soon as it changes.
        files = (*(root / name for name in lists), *sorted((root / "wav").rglob("*.raw")))
        return Source(files, lambda: self._read(root), held_out=HELD_OUT, by_speaker=True)

    def _read(self, root: Path) -> Entries:
        """Read the lists. Raw samples are copied to files with a header in the cache, once."""
        entries = [item for name, split in SETS.items() for item in _set(root, name, split)]
        audio = (item.audio for item in entries if isinstance(item, Entry))
        raw = [file for file in audio if file is not None and _is_raw(file)]
        folder = self.cache / f"{self.name}-audio-{self.source.digest}"
        copies = {file: folder / f"{number:04d}-{file.stem}.flac" for number, file in enumerate(raw)}
        if raw:
            make_once(folder, lambda partial: _copy(copies, partial))
        for item in entries:
            if isinstance(item, Entry):
                item = replace(item, audio=item.audio and copies.get(item.audio, item.audio))
            yield item


def _is_raw(audio: Path) -> bool:
    """Whether it has samples and no header. What is missing or empty is reported under its own name."""
    return audio.suffix == ".raw" and audio.is_file() and audio.stat().st_size > 1


def _copy(copies: Mapping[Path, Path], folder: Path) -> None:
    for file, copy in copies.items():
        soundfile.write(folder / copy.name, read_raw(file), SAMPLE_RATE, subtype="PCM_16")


def _table(table: Path) -> Entries:
    """Read the table. Its validation speakers are training speakers of the corpus, which has no other."""
    for item in Tables().read(table, None):
        if isinstance(item, Entry) and item.audio is not None:
            split: Split = "test" if item.split == "test" else "train"
            text = None if item.text is None else item.text.lower()
            item = replace(item, id=item.audio.stem, text=text, split=split, is_named=True)
        yield item


def _set(root: Path, name: str, split: Split) -> Entries:
    texts: dict[str, tuple[str, str]] = {}
    for where, line in _lines(root / "etc" / f"{name}.transcription"):
        if (found := _LINE.fullmatch(line)) is None:
            yield Problem(split, "", "bad line", where, "must be a text and (NAME), but is not")
        elif found["name"] in texts:
            yield Problem(split, found["name"], "duplicate", where, f"{found['name']!r} is listed already")
        else:
            texts[found["name"]] = (normalize(found["text"]), where)
    listed = {Path(line.strip()).name: line.strip() for _, line in _lines(root / "etc" / f"{name}.fileids")}
    for id, (text, where) in texts.items():
        if id in listed:
            file = root / "wav" / listed.pop(id)
            yield Entry(id, where, _audio(file), text, split, speaker=file.parent.name)
        else:
            yield Problem(split, id, "text without audio", where, f"{id!r} is not in {name}.fileids")
    for id in listed:
        where = str(root / "etc" / f"{name}.fileids")
        yield Problem(split, id, "audio without text", where, f"{id!r} is not in {name}.transcription")


def normalize(text: str) -> str:
    """Convert a transcript to lower case, and remove the marks of sentence ends and silence. Idempotent."""
    return " ".join(_MARK.sub(" ", text).lower().split())


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    return ((f"{file}:{number}", line) for number, line in numbered_lines(file))


def _audio(file: Path) -> Path:
    """The audio file of a name without suffix; if there is none, it is named as others in its folder are."""
    found = (file.with_name(file.name + suffix) for suffix in _SUFFIXES)
    if (audio := next(filter(os.path.isfile, found), None)) is not None:
        return audio
    others = (other.suffix for other in sorted(file.parent.glob("*")) if other.suffix in _SUFFIXES)
    return file.with_name(file.name + next(others, _SUFFIXES[0]))
