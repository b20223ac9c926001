"""CSV and TSV with a header: path, text and, if known, split, speaker, offset, duration, id."""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path

from supernet.task import Split, TaskError
from tasks.files.problems import Problem, Unusable, first_few
from tasks.formats.columns import COLUMNS, KNOWN, entry_of
from tasks.formats.format import NOTHING, Format, Found, choose, single
from tasks.listing.entries import Entries, numbered_lines

_SUFFIXES = (".csv", ".tsv")


class Tables(Format):
    """CSV and TSV files. Quotes have no meaning in a TSV."""

    name = "a CSV or TSV of path,text"

    def find(self, path: Path) -> Found:
        if path.is_file():
            return single(path) if path.suffix.lower() in _SUFFIXES else NOTHING
        files = (file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES and file.is_file())
        return choose(files, lambda file: _missing_column(_header(file)) is None)

    def read(self, path: Path, split: Split | None) -> Entries:
        """A row is a line. One with too few or too many columns, or with an unterminated quoted field, is a
        problem.
        """
        header = _header(path)
        _check(header, path)
        for number, line in islice(numbered_lines(path), 1, None):
            where = f"{path}:{number}"
            try:
                row = _cells(line, path)
            except Unusable as error:
                yield Problem(split or "train", "", error.kind, where, str(error))
                continue
            if len(row) == len(header):
                yield entry_of(dict(zip(header, row, strict=True)), where, path.parent, split)
            else:
                what = f"must have the {len(header)} columns of the header, but has {len(row)} instead"
                yield Problem(split or "train", row[0], "bad line", where, what)


def _cells(line: str, path: Path) -> list[str]:
    """Split one line into cells (RFC 4180), so that an unterminated quote does not swallow others."""
    if path.suffix.lower() != ".csv":
        return line.split("\t")
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        why = "a quoted field is not terminated" if "end of data" in str(error) else str(error)
        raise Unusable("bad line", f"must be a row of a table, but is not: {why}") from None


def _header(path: Path) -> list[str]:
    """The names of the columns; empty if the first line has none."""
    _, line = next(numbered_lines(path), (0, ""))
    try:
        return [name.strip().lower() for name in _cells(line, path)]
    except Unusable:
        return []


def _check(header: list[str], path: Path) -> None:
    if missing := _missing_column(header):
        separator = "commas" if path.suffix.lower() == ".csv" else "tabs"
        raise TaskError(
            f"`{path}` must begin with a header that names path and text, separated by {separator}, but has "
            f"no {missing} among [{first_few(header)}] instead. Add path and text (and split and speaker, if "
            "known)."
        )
    if twice := sorted({name for name in header if name in KNOWN and header.count(name) > 1}):
        raise TaskError(
            f"`{path}` must name each column once, but names [{first_few(twice)}] more than once instead."
        )


def _missing_column(header: list[str]) -> str | None:
    required = {"path": "audio", "text": "text"}
    return next((name for name, column in required.items() if not set(COLUMNS[column]) & set(header)), None)
