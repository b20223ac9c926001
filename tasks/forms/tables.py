"""CSV and TSV with a header: path, text and, if known, split, speaker, offset, duration, id."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from supernet.batch import Split, TaskError
from tasks.entries import Listed
from tasks.forms.form import Form, Listing, choose
from tasks.forms.rows import COLUMNS, entry
from tasks.problems import Problem

_SUFFIXES = (".csv", ".tsv")


def find(path: Path) -> list[Listing]:
    if path.is_file():
        return [(path, None)] if path.suffix in _SUFFIXES else []
    return choose(file for file in path.iterdir() if file.suffix in _SUFFIXES)


def read(path: Path, split: Split | None) -> Listed:
    """A row that lacks columns or has more than the header is a problem; quotes mean nothing in a TSV."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = (
            csv.reader(file)
            if path.suffix == ".csv"
            else csv.reader(file, "excel-tab", quoting=csv.QUOTE_NONE)
        )
        header = [name.strip().lower() for name in next(rows, [])]
        _check(header, path)
        for row in _rows(rows):
            where = f"{path}:{rows.line_num}"
            if isinstance(row, str):
                yield Problem(split or "train", "", "bad line", where, row)
            elif len(row) == len(header):
                yield entry(dict(zip(header, row, strict=True)), where, path.parent, split)
            elif row:
                what = f"must have the {len(header)} columns of the header, but has {len(row)} instead"
                yield Problem(split or "train", row[0], "bad line", where, what)


def _rows(rows: Iterator[list[str]]) -> Iterator[list[str] | str]:
    """The rows, or what is wrong with one: a quote without an end swallows what follows, up to a limit."""
    while True:
        try:
            yield next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"must be a row, but is not: {error}"


def _check(header: list[str], path: Path) -> None:
    for column in ("audio", "text"):
        if not set(COLUMNS[column]) & set(header):
            raise TaskError(
                f"`{path}` must begin with a header that names path and text, but has no {column} among "
                f"{header} instead. Add the line path,text (and split, speaker if known)."
            )


TABLES = Form("a CSV or TSV of path,text", find, read, lambda path: [path])
