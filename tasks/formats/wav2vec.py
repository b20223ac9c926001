"""Listings of wav2vec: a .tsv with a folder in its first line and a file in that folder with its number of
samples in every other, and a .wrd with the text of each file.
"""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path

from supernet.task import Split
from tasks.files.problems import Problem
from tasks.formats.format import NOTHING, Format, Found, choose, single
from tasks.listing.entries import Entries, Entry, locate_audio, make_id, open_listing


class Wav2Vec(Format):
    """Pairs of .tsv and .wrd files."""

    name = "wav2vec's .tsv + .wrd"

    def find(self, path: Path) -> Found:
        if path.is_file():
            return single(path) if path.suffix == ".tsv" and path.with_suffix(".wrd").is_file() else NOTHING
        return choose(file for file in path.glob("*.tsv") if file.with_suffix(".wrd").is_file())

    def read(self, path: Path, split: Split | None) -> Entries:
        """The n-th line of the .wrd is the text of the n-th file. If one of the two is longer, the rest of it
        is reported.
        """
        words = path.with_suffix(".wrd")
        with open_listing(path) as files, open_listing(words) as texts:
            root = path.parent / next(files, "").strip()  # a relative folder is relative to the listing's
            for number, (file, text) in enumerate(zip_longest(files, texts), start=1):
                if not (file or "").strip() and not (text or "").strip():
                    continue  # blank lines at the end
                where = f"{path}:{number + 1}"
                if not (file or "").strip():
                    what = f"line {number} of {words.name} has no file in {path.name}"
                    yield Problem(split or "train", "", "text without audio", f"{words}:{number}", what)
                    continue
                name = file.rstrip("\n").split("\t")[0]
                yield Entry(make_id(name), where, locate_audio(name, root), text, split, is_named=False)

    def files(self, path: Path) -> list[Path]:
        return [path, path.with_suffix(".wrd")]
