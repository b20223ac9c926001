"""TED-LIUM, release 2 (Rousseau et al., 2014; openslr.org/19): 207 hours of talks."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field

from supernet.task import Split
from tasks.converted import ConvertedTask, check_complete, corpus_folder
from tasks.files.problems import Problem
from tasks.listing.entries import Entries, Entry, Source, numbered_lines, parse_seconds
from tasks.options import CorpusOptions

_GET = "Unpack it from openslr.org/19, and give the folder with `task.path=FOLDER`."
FOLDERS: dict[str, Split] = {"train": "train", "dev": "valid", "test": "test"}

_IGNORED = "ignore_time_segment_in_scoring"
_GAP = "inter_segment_gap"

# Comments such as (2), which number pronunciations, and sounds that are not speech: {NOISE}, [NOISE], <sil>.
_NO_SPEECH = re.compile(r"\([^)]*\)|\{[^}]*\}|\[[^\]]*\]|<sil>", re.IGNORECASE)
# An unintelligible word, with its suffix, which would otherwise be joined to the preceding word.
_UNKNOWN = re.compile(r"<unk>( '\w+)?", re.IGNORECASE)
_SUFFIX = re.compile(r"(?<=\w) (?='\w)")
_PREFIX = re.compile(r"(?<!\S)' (?=\w)")


class Tedlium2Options(CorpusOptions):
    """Options of TED-LIUM."""

    path: Path = Path("TEDLIUM_release2")
    """Folder with train, dev and test, each with sph and stm."""
    batch_seconds: float = Field(default=150.0, gt=0)
    """Seconds of speech per training batch and rank."""


class Tedlium2(ConvertedTask):
    """The corpus as unpacked, in its own splits: {train,dev,test}/stm/TALK.stm beside sph/TALK.sph."""

    name = "tedlium2"
    Options = Tedlium2Options
    options: Tedlium2Options

    def find(self) -> Source:
        root = corpus_folder(self.options.path, "TEDLIUM_release2", "TED-LIUM", _GET)
        layout = "TED-LIUM with train, dev and test, each with stm and sph"
        check_complete(root, [f"{name}/stm" for name in FOLDERS], layout, _GET)
        files = [file for name in FOLDERS for file in _transcripts(root / name)]
        return Source(tuple(files), lambda: _read(root))


def normalize(text: str) -> str:
    """Normalize a transcript as is usual for scoring: convert it to lower case, join suffixes (``it 's``
    becomes ``it's``), and remove the marks of sounds, pronunciations and unintelligible words.
    """
    text = " ".join(_NO_SPEECH.sub(" ", text).lower().split())
    text = " ".join(_UNKNOWN.sub(" ", text).split())
    return _PREFIX.sub("'", _SUFFIX.sub("", text))


def _transcripts(folder: Path) -> list[Path]:
    return sorted((folder / "stm").glob("*.stm"))


def _read(root: Path) -> Entries:
    for name, split in FOLDERS.items():
        talks = set[str]()
        for file in _transcripts(root / name):
            talks.add(file.stem)
            for number, line in numbered_lines(file):
                if not line.startswith(";;") and _IGNORED not in line:
                    yield from _segment(line, split, root / name / "sph", f"{file}:{number}")
        for audio in sorted((root / name / "sph").glob("*.sph")):
            if audio.stem not in talks:
                yield Problem(split, audio.stem, "audio without text", str(audio), "no transcript in stm")


def _segment(line: str, split: Split, audio: Path, where: str) -> Entries:
    """Parse a line ``talk channel speaker start end [<label>] text`` of NIST's segment time marks."""
    fields = line.split()
    try:
        talk, _, speaker, start, end = (
            fields[0],
            fields[1],
            fields[2],
            parse_seconds(fields[3]),
            parse_seconds(fields[4]),
        )
    except (IndexError, ValueError):
        yield Problem(
            split, fields[0], "bad line", where, "must begin with talk, channel, speaker, start, end"
        )
        return
    if speaker == _GAP:
        return
    labeled = len(fields) > 5 and _is_label(fields[5])
    yield Entry(
        f"{talk}-{round(start * 100):07d}-{round(end * 100):07d}",
        where,
        audio / f"{talk}.sph",
        normalize(" ".join(fields[6 if labeled else 5 :])),
        split,
        start,
        end - start,
        speaker,
        is_named=False,
    )


def _is_label(field: str) -> bool:
    """Whether it is a label such as <o,f0,male>, <F0_M> or <NA>, which precedes the text."""
    return field.startswith("<") and field.lower() not in ("<unk>", "<sil>")
