"""Sanitize untrusted text: control characters become visible escapes."""

from __future__ import annotations

import re

UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1: cursor movements, colors, titles of windows
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # these change the direction of surrounding text
    "\u2028\u2029"  # line and paragraph separators
    "\ud800-\udfff]"  # bytes of a file name that is not UTF-8
)


def plain(text: str, *, lines: bool = False) -> str:
    r"""Replace control characters by visible escapes such as ``\x1b``.

    All text from files passes through here before it is printed: ids, speakers, tokens, transcripts, names of
    files and runs, and messages that quote them.

    Args:
        text: Any text.
        lines: Whether to keep line feeds.
    """
    return UNSEEN.sub(lambda found: found[0] if lines and found[0] == "\n" else escaped(found[0]), text)


def escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
