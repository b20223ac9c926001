"""speechocean762 (Zhang et al., 2021; openslr.org/101): English sentences, read by 250 speakers of Mandarin,
half of them children.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from supernet.task import Split
from tasks.converted import ConvertedTask, check_complete, corpus_folder
from tasks.files.problems import Problem
from tasks.formats.kaldi import Kaldi
from tasks.formats.tables import Tables
from tasks.listing.entries import HELD_OUT, Entries, Entry, Source
from tasks.options import CorpusOptions

_GET = (
    "Get it from openslr.org/101 or github.com/jimbozhang/speechocean762, and give the folder with "
    "`task.path=FOLDER`."
)
HALVES: tuple[Split, ...] = ("train", "test")
_FILES = ("wav.scp", "text", "utt2spk")


class Speechocean762Options(CorpusOptions):
    """Options of speechocean762."""

    path: Path = Path("speechocean762")
    """Folder with WAVE, train and test, or with the table manifest.csv of path, text, speaker and split."""
    batch_seconds: float = Field(default=56.0, gt=0)
    """Seconds of speech per training batch and rank."""


class Speechocean762(ConvertedTask):
    """The corpus as published, two Kaldi data folders of 125 speakers each, or a table with its own splits.

    Test is the published half. A tenth of the training speakers, chosen by a hash of their numbers, is for
    validation; a table keeps the splits that it names. Transcripts are converted to lower case; they consist
    of letters, apostrophes and spaces.
    """

    name = "speechocean762"
    Options = Speechocean762Options
    options: Speechocean762Options

    def find(self) -> Source:
        root = corpus_folder(self.options.path, "speechocean762", "speechocean762", _GET)
        if (table := root / "manifest.csv").is_file():
            return _source((table,), lambda: Tables().read(table, None))
        lists = [f"{half}/{file}" for half in HALVES for file in _FILES]
        layout = "speechocean762 with WAVE, train and test, or with manifest.csv"
        check_complete(root, [*lists, "WAVE"], layout, _GET)
        return _source(
            tuple(root / name for name in lists),
            lambda: (item for half in HALVES for item in Kaldi().read(root / half, half)),
        )


def _source(files: tuple[Path, ...], read: Callable[[], Entries]) -> Source:
    return Source(files, lambda: map(_normalized, read()), held_out=HELD_OUT, by_speaker=True)


def _normalized(item: Entry | Problem) -> Entry | Problem:
    if isinstance(item, Problem) or item.text is None:
        return item
    return replace(item, text=item.text.lower())
