"""Text on its way to the terminal: what comes from files is shown, never obeyed. Imports nothing heavy."""

from __future__ import annotations

import json
import os
import sys
from typing import NoReturn, TextIO

from supernet.text.plain import UNSEEN, escaped, plain

_STAND_INS = str.maketrans(
    {"–": "-", "−": "-", "·": ".", "…": "...", "␣": "_", "±": "+-", "×": "x", "→": "->", "\u00a0": " "}
)

STOPPED = 130
"""The exit status after Ctrl-C: 128 + SIGINT."""


def encodable(text: str, encoding: str) -> str:
    """``text`` as far as ``encoding`` has its characters; the rest as escapes, dashes and the like as their
    nearest kin.
    """
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
    r"""A line of JSON with JSON's own escapes for what ``plain`` escapes and ``encoding`` lacks."""
    line, end = (line[:-1], "\n") if line.endswith("\n") else (line, "")
    line = UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], line)
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        line = json.dumps(json.loads(line))  # ASCII
    return line + end


def put(text: str, stream: TextIO | None = None) -> None:
    """Write ``text``, harmless already, as far as the stream can show it; what it cannot is escaped."""
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def say(text: str) -> None:
    """A line, or lines, on standard output."""
    put(plain(text, lines=True) + "\n")


_quiet = False


def be_quiet(quiet: bool) -> None:
    """Whether to leave out bars, notes and what to do next: results and errors remain."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    return _quiet


def remark(text: str) -> None:
    """A line on standard output about how the work goes on; no result."""
    if not _quiet and is_main_process():
        say(text)


def is_main_process() -> bool:
    """Whether this process speaks for the run: the first, where there are several."""
    return os.environ.get("RANK", "0") == "0"


def complain(message: str) -> None:
    """A line for each problem on standard error."""
    for line in message.split("\n"):
        put(plain(f"error: {line}") + "\n", sys.stderr)


def fail(message: str, status: int = 2) -> NoReturn:
    """End with a line for each problem on standard error."""
    complain(message)
    raise SystemExit(status)


def halt(message: str, status: int = STOPPED) -> NoReturn:
    """End because the user wished so, which is no error."""
    put(plain(message, lines=True) + "\n", sys.stderr)
    raise SystemExit(status)


def note(message: str) -> None:
    """Something worth knowing, on standard error."""
    if not _quiet:
        put(plain(f"note: {message}", lines=True) + "\n", sys.stderr)
