"""Text output to the terminal, in which control characters are escaped. Imports nothing heavy."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import NoReturn, TextIO

from supernet.system.processes import is_main_process
from supernet.text.plain import UNSEEN, escaped, plain

_STAND_INS = str.maketrans(
    {"–": "-", "−": "-", "·": ".", "…": "...", "␣": "_", "±": "+-", "×": "x", "→": "->", "\u00a0": " "}
)

STOPPED = 130
"""The exit status after Ctrl-C: 128 + SIGINT."""


def encodable(text: str, encoding: str) -> str:
    """``text`` with characters that ``encoding`` lacks replaced by similar ones, or else by escapes."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = "".join(_nearest(character, encoding) for character in text)
    return text


def _nearest(character: str, encoding: str) -> str:
    for candidate in (character, character.translate(_STAND_INS)):
        try:
            candidate.encode(encoding)
        except UnicodeEncodeError:
            continue
        return candidate
    return escaped(character)


def json_encodable(line: str, encoding: str) -> str:
    r"""A line of JSON with JSON escapes for what ``plain`` escapes and for what ``encoding`` lacks."""
    line, end = (line[:-1], "\n") if line.endswith("\n") else (line, "")
    line = UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], line)
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        line = json.dumps(json.loads(line))  # ASCII
    return line + end


def put(text: str, stream: TextIO | None = None) -> None:
    """Write ``text``, which is already sanitized; characters that the stream cannot encode are escaped."""
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def say(text: str) -> None:
    """Print one or more lines on standard output."""
    put(plain(text, lines=True) + "\n")


_quiet = False


def be_quiet(quiet: bool) -> None:
    """Set whether to omit bars, notes and suggestions; results and errors remain."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    return _quiet


def remark(text: str) -> None:
    """Print a line about the progress of the work, not a result, on standard output."""
    if not _quiet and is_main_process():
        say(text)


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Lines with cells in columns, the first ``left`` of which are aligned left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def complain(message: str) -> None:
    """Print one line per problem on standard error."""
    for line in message.split("\n"):
        put(plain(f"error: {line}") + "\n", sys.stderr)


def fail(message: str, status: int = 2) -> NoReturn:
    """Exit with one line per problem on standard error."""
    complain(message)
    raise SystemExit(status)


def halt(message: str, status: int = STOPPED) -> NoReturn:
    """Exit at the user's request, which is not an error."""
    put(plain(message, lines=True) + "\n", sys.stderr)
    raise SystemExit(status)


def note(message: str) -> None:
    """Print a note on standard error."""
    if not _quiet:
        put(plain(f"note: {message}", lines=True) + "\n", sys.stderr)
