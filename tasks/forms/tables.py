"""CSV and TSV with a header: path, text and, if known, split, speaker, offset, duration, id."""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path

from supernet.task import Split, TaskError
from tasks.files.problems import Problem, Unusable, some
from tasks.forms.form import NONE, Form, Found, alone, choose
from tasks.forms.rows import COLUMNS, KNOWN, entry
from tasks.listing.entries import Listed, numbered_lines

_SUFFIXES = (".csv", ".tsv")


def find(path: Path) -> Found:
    if path.is_file():
        return alone(path) if path.suffix.lower() in _SUFFIXES else NONE
    files = (file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES and file.is_file())
    return choose(files, lambda file: _lacking(_header(file)) is None)


def read(path: Path, split: Split | None) -> Listed:
    """A row is a line: one that lacks columns, has more than the header, or has a quoted field that does not
    end, is a problem. Quotes mean nothing in a TSV.
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
            yield entry(dict(zip(header, row, strict=True)), where, path.parent, split)
        else:
            what = f"must have the {len(header)} columns of the header, but has {len(row)} instead"
            yield Problem(split or "train", row[0], "bad line", where, what)


def _cells(line: str, path: Path) -> list[str]:
    """The cells of a line (RFC 4180). Read for itself, as a quote without an end would swallow others."""
    if path.suffix.lower() != ".csv":
        return line.split("\t")
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        why = "a quoted field does not end on it" if "end of data" in str(error) else str(error)
        raise Unusable("bad line", f"must be a row of a table, but is not: {why}") from None


def _header(path: Path) -> list[str]:
    """The names of the columns, as far as the first line has some."""
    _, line = next(numbered_lines(path), (0, ""))
    try:
        return [name.strip().lower() for name in _cells(line, path)]
    except Unusable:
        return []


def _check(header: list[str], path: Path) -> None:
    if lacking := _lacking(header):
        separator = "commas" if path.suffix.lower() == ".csv" else "tabs"
        raise TaskError(
            f"`{path}` must begin with a header that names path and text, separated by {separator}, but has "
            f"no {lacking} among [{some(header)}] instead. Add path and text (and split, speaker if known)."
        )
    if twice := sorted({name for name in header if name in KNOWN and header.count(name) > 1}):
        raise TaskError(f"`{path}` must name each column once, but names [{some(twice)}] more often.")


def _lacking(header: list[str]) -> str | None:
    wanted = {"path": "audio", "text": "text"}
    return next((name for name, column in wanted.items() if not set(COLUMNS[column]) & set(header)), None)


TABLES = Form("a CSV or TSV of path,text", find, read, lambda path: [path])
