"""Texts of token ids, as ``supernet.text.tokens`` decodes them, without SentencePiece."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from supernet.text.spelling import unified

BLANK_ID = 0
_BEGIN, _STAND_IN = "▁", "\ue581"
"""SentencePiece's sign for the space before a word, and the one that texts have instead of it."""
SPACES = {"characters": " ", "pieces": _BEGIN, "words": None}
"""By kind of token, the symbol between words. None: every token is a word."""
_BYTES = re.compile(r"(?:<0x[0-9A-F]{2}>)+")


@dataclass(frozen=True)
class Symbols:
    """The output tokens of a network.

    Args:
        symbols: The symbol of each token id; the first is the blank.
        kind: A key of ``SPACES``.
    """

    symbols: tuple[str, ...]
    kind: str

    def text(self, path: Sequence[int]) -> str:
        """The text of a path, the token id of each frame: repetitions are collapsed, blanks removed."""
        ids = [b for a, b in zip((BLANK_ID, *path), path, strict=False) if b not in (a, BLANK_ID)]
        found = [self.symbols[i] for i in ids]
        space = SPACES[self.kind]
        words = found if space is None else [word for word in "".join(found).split(space) if word]
        if self.kind == "pieces":
            words = [_BYTES.sub(_decoded, word).replace(_STAND_IN, _BEGIN) for word in words]
        return " ".join(unified(word) for word in words)


def _decoded(found: re.Match[str]) -> str:
    """The characters of bytes, with a replacement for each that belongs to none, as in SentencePiece."""
    numbers = re.findall(r"<0x(..)>", found[0])
    text = bytes(int(number, 16) for number in numbers).decode("utf-8", errors="surrogateescape")
    return re.sub("[\udc80-\udcff]", "\ufffd", text)
