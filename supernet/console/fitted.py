"""Tables that fit the width of the console.

Cells wrap between words and less important columns are dropped; a table that is still too wide is split into
several, one below the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from supernet.console.text import encodable
from supernet.text.plain import plain

_BETWEEN_PIECES = re.compile(r"(?<=[-_/,=])(?=[^\W\d_])")
"""Positions at which a word too long for its column may break, as names and paths do."""


@dataclass(frozen=True)
class Column:
    """A column, and how it adapts to a narrow console."""

    name: str
    left: bool
    """Whether it is aligned left, like text; numbers are aligned right."""
    wraps: bool
    """Whether its cells may wrap."""
    lesser: bool
    """Whether it is dropped if there is no room."""
    note: str = ""
    """An explanation printed below the table if the column is shown."""


class Fitted:
    """A table, filled like Rich's, that fits whatever console prints it."""

    def __init__(
        self, title: str | None = None, caption: str = "", *, boxed: bool = False, header: bool = True
    ) -> None:
        self.title, self.caption = title, caption
        self._boxed, self._header = boxed, header
        self._columns: list[Column] = []
        self._sections: list[list[list[str]]] = [[]]

    def add_column(
        self, name: str, *, left: bool = False, wraps: bool = False, lesser: bool = False, note: str = ""
    ) -> None:
        self._columns.append(Column(name, left, wraps, lesser, note))

    def add_row(self, *cells: str) -> None:
        missing = [""] * (len(self._columns) - len(cells))
        self._sections[-1].append([plain(cell, lines=True) for cell in (*cells, *missing)])

    def add_section(self) -> None:
        """End a group of rows."""
        self._sections.append([])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        if self.title:
            yield _lines(self.title, width)
        explained: dict[str, None] = {}
        for shown in self._parts(width, console.encoding):
            yield self._drawn(shown, width, console.encoding)
            explained |= {self._columns[i].note: None for i in shown if self._columns[i].note}
        notes = f"{'; '.join(explained)}." if explained else ""
        if caption := "\n".join(filter(None, [self.caption, notes])):
            yield _lines(caption, width)

    def _parts(self, width: int, encoding: str) -> Iterator[list[int]]:
        """The columns of each table to draw: a single table if they fit."""
        shown = list(range(len(self._columns)))
        if sum(self._natural(i, encoding) for i in shown) + self._overhead(len(shown)) > width:
            shown = [i for i in shown if not self._columns[i].lesser]
        key, rest = shown[:1], shown[1:]
        while rest:
            part = [rest.pop(0)]
            while rest and self._fits([*key, *part, rest[0]], width, encoding):
                part.append(rest.pop(0))
            yield [*key, *part]

    def _fits(self, shown: Sequence[int], width: int, encoding: str) -> bool:
        return sum(self._least(i, encoding) for i in shown) + self._overhead(len(shown)) <= width

    def _overhead(self, number: int) -> int:
        """The width of the space after each cell and of the lines between cells."""
        return 2 * number + 1 if self._boxed else 2 * number - 1

    def _cells(self, i: int, encoding: str) -> list[str]:
        return [encodable(row[i], encoding) for section in self._sections for row in section]

    def _natural(self, i: int, encoding: str) -> int:
        return max(_widest(self._columns[i].name), *map(_widest, self._cells(i, encoding)), 1)

    def _least(self, i: int, encoding: str) -> int:
        """The width below which words, or cells that may not wrap, would break."""
        cells, column = self._cells(i, encoding), self._columns[i]
        inside = max(map(_longest_word if column.wraps else _widest, cells), default=1)
        return max(_longest_word(column.name), inside, 1)

    def _widths(self, shown: Sequence[int], width: int, encoding: str) -> dict[int, int]:
        """Natural widths, the widest reduced until the table fits."""
        widths = {i: self._natural(i, encoding) for i in shown}
        least = {i: self._least(i, encoding) for i in shown}
        while sum(widths.values()) + self._overhead(len(shown)) > width:
            wide = [i for i in shown if widths[i] > least[i]]
            if not wide:  # a word is wider than the console and has to break
                wide = [i for i in shown if widths[i] > 8]
            if not wide:
                break
            widths[max(wide, key=lambda i: (widths[i] - least[i], widths[i]))] -= 1
        return widths

    def _drawn(self, shown: Sequence[int], width: int, encoding: str) -> Table:
        widths = self._widths(shown, width, encoding)
        table = Table(
            box=box.HEAVY_HEAD if self._boxed else box.SIMPLE_HEAD,
            show_edge=self._boxed,
            show_header=self._header,
            padding=(0, 1, 0, 0),
        )
        for i in shown:
            column = self._columns[i]
            justify = "left" if column.left else "right"
            head = "\n".join(wrapped(column.name, widths[i]))
            table.add_column(head, justify=justify, no_wrap=True)  # type: ignore[arg-type]
        for section in self._sections:
            for row in section:
                cells = (encodable(row[i], encoding) for i in shown)
                table.add_row(*("\n".join(wrapped(c, widths[i])) for c, i in zip(cells, shown, strict=True)))
            table.add_section()
        return table


def _widest(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


def _longest_word(text: str) -> int:
    words = text.replace("\n", " ").split(" ")
    return max((cell_len(piece) for word in words for piece in _pieces(word)), default=0)


def _pieces(word: str) -> list[str]:
    return _BETWEEN_PIECES.split(word)


def _lines(text: str, width: int) -> str:
    return "\n".join(wrapped(plain(text, lines=True), width))


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most ``width``, wrapped between words.

    A word that is longer breaks after a hyphen, slash or the like, or anywhere if it has none.
    """
    return [line for part in text.split("\n") for line in _wrapped_line(part, width)]


def _wrapped_line(text: str, width: int) -> list[str]:
    if cell_len(text) <= width:
        return [text]
    lines, line = [], ""
    for word in filter(None, text.split(" ")):
        if line and cell_len(f"{line} {word}") <= width:
            line = f"{line} {word}"
            continue
        if line:
            lines.append(line)
        *full, line = _broken(word, width)
        lines += full
    return [*lines, line]


def _broken(word: str, width: int) -> list[str]:
    lines = [""]
    for piece in _pieces(word):
        if cell_len(lines[-1] + piece) > width and lines[-1]:
            lines.append("")
        for character in piece:
            if cell_len(lines[-1] + character) > width and lines[-1]:
                lines.append("")
            lines[-1] += character
    return lines
