"""wav2vec's pairs: a .tsv whose first line is a folder and each other a file in it with its samples' number;
and a .wrd with the text of each.
"""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path

from supernet.task import Split
from tasks.files.problems import Problem
from tasks.forms.form import NONE, Form, Found, alone, choose
from tasks.listing.entries import Entry, Listed, id_of, locate, open_listing


def find(path: Path) -> Found:
    if path.is_file():
        return alone(path) if path.suffix == ".tsv" and path.with_suffix(".wrd").is_file() else NONE
    return choose(file for file in path.glob("*.tsv") if file.with_suffix(".wrd").is_file())


def read(path: Path, split: Split | None) -> Listed:
    """The n-th line of the .wrd is the text of the n-th file: where one of them is longer, all behind is left
    over.
    """
    words = path.with_suffix(".wrd")
    with open_listing(path) as files, open_listing(words) as texts:
        root = path.parent / next(files, "").strip()  # a relative folder counts from the listing's
        for number, (file, text) in enumerate(zip_longest(files, texts), start=1):
            if not (file or "").strip() and not (text or "").strip():
                continue  # blank lines at the end
            where = f"{path}:{number + 1}"
            if not (file or "").strip():
                what = f"line {number} of {words.name} has no file in {path.name}"
                yield Problem(split or "train", "", "text without audio", f"{words}:{number}", what)
                continue
            name = file.rstrip("\n").split("\t")[0]
            yield Entry(id_of(name), where, locate(name, root), text, split, is_named=False)


WAV2VEC = Form("wav2vec's .tsv + .wrd", find, read, lambda path: [path, path.with_suffix(".wrd")])
