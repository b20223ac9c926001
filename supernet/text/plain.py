"""Text of strangers made harmless: control characters are shown, never obeyed."""

from __future__ import annotations

import re

UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1: cursor movements, colors, titles of windows
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # they change the direction of what stands around them
    "\u2028\u2029"  # ends of lines and paragraphs
    "\ud800-\udfff]"  # bytes of a file name that is no UTF-8
)


def plain(text: str, *, lines: bool = False) -> str:
    r"""``text`` with control characters as visible escapes such as ``\x1b``.

    All text from files goes through here before it is printed: ids, speakers, tokens, transcripts, names of
    files and runs, and messages that quote them. ``lines`` keeps ends of lines, in texts of our own.
    """
    return UNSEEN.sub(lambda found: found[0] if lines and found[0] == "\n" else escaped(found[0]), text)


def escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
