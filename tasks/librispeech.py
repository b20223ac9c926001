"""LibriSpeech (Panayotov et al., 2015; openslr.org/12): 960 hours of read English, 100 of them, or the 5 of
mini LibriSpeech (openslr.org/31).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from supernet.task import SPLITS, Split
from tasks.converted import ConvertedTask, check_complete, corpus_folder
from tasks.files.problems import Problem
from tasks.listing.entries import HELD_OUT, Entries, Entry, Source, numbered_lines
from tasks.options import CorpusOptions

Parts = tuple[str, ...]


class LibriSpeechOptions(CorpusOptions):
    """Options of LibriSpeech."""

    path: Path = Path("LibriSpeech")
    """Folder with train-clean-100, dev-clean and so on, or with train-clean-5 and dev-clean-2."""
    train: Parts = Field(default=("train-clean-100", "train-clean-360", "train-other-500"), min_length=1)
    """Parts to train on, by default 960 hours; train-clean-100 alone is the 100-hour task."""
    valid: Parts = ("dev-clean", "dev-other")
    """Parts for validation. Empty: a tenth of the training speakers, chosen by a hash of their numbers."""
    test: Parts = ("test-clean", "test-other")
    """Parts for testing. Empty: another tenth of the training speakers."""
    batch_seconds: float = Field(default=150.0, gt=0)
    """Seconds of speech per training batch and rank."""


class LibriSpeech(ConvertedTask):
    """The corpus as unpacked: PART/SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt beside FLAC files.

    Transcripts are converted to lower case; they consist of letters, apostrophes and spaces.
    """

    name = "librispeech"
    Options = LibriSpeechOptions
    options: LibriSpeechOptions

    def parts(self) -> dict[str, Split]:
        return {part: split for split in SPLITS for part in getattr(self.options, split)}

    def find(self) -> Source:
        root = corpus_folder(self.options.path, "LibriSpeech", "LibriSpeech's parts", _GET)
        names = [(split, name) for split in SPLITS for name in getattr(self.options, split)]
        parts = [(split, root / name) for split, name in names]
        check_complete(root, [name for _, name in names], "LibriSpeech's parts", _get(root, names))
        files = [
            file
            for _, part in parts
            for chapter in _chapters(part)
            if (file := _transcripts(chapter)).is_file()
        ]
        return Source(
            tuple(files),
            lambda: _read(parts),
            settings=(names,),
            held_out=None if self.options.valid and self.options.test else HELD_OUT,
            by_speaker=True,
        )


_GET = (
    "Unpack them from openslr.org/12 (train-clean-5 and dev-clean-2: openslr.org/31), and give the folder "
    "with `task.path=FOLDER`."
)


def _get(root: Path, names: list[tuple[Split, str]]) -> str:
    """Advice on missing parts: where to get them or, if there are others, to choose these instead."""
    if not any((root / name).exists() for _, name in names):
        return _GET
    there = sorted(folder.name for folder in root.iterdir() if folder.is_dir())
    return f"Unpack them, or choose others of {', '.join(there)} as in `task.train=[train-clean-100]`."


def _read(parts: list[tuple[Split, Path]]) -> Entries:
    for split, part in parts:
        for chapter in _chapters(part):
            yield from _chapter(split, part, chapter)


def _chapters(part: Path) -> list[Path]:
    return sorted(folder for folder in part.glob("*/*") if folder.is_dir())


def _transcripts(chapter: Path) -> Path:
    return chapter / f"{chapter.parent.name}-{chapter.name}.trans.txt"


def _chapter(split: Split, part: Path, chapter: Path) -> Entries:
    file, heard = _transcripts(chapter), set[str]()
    for number, line in _lines(file):
        id, _, text = line.strip().partition(" ")
        heard.add(id)
        yield Entry(
            id,
            f"{file}:{number}",
            chapter / f"{id}.flac",
            text.lower(),
            split,
            speaker=chapter.parent.name,
            part=part.name,
        )
    for audio in sorted(chapter.glob("*.flac")):
        if audio.stem not in heard:
            yield Problem(split, audio.stem, "audio without text", str(file), f"no line for '{audio.name}'")


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    return numbered_lines(file) if file.is_file() else iter(())
