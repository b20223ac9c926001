"""Tokens: what the recogniser can write. The blank is 0; the file is the one sherpa-onnx reads."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

BLANK = "<blk>"
Kind = Literal["characters", "words"]


@dataclass(frozen=True)
class Tokens:
    """Symbols by id. ``kind`` says how a text is split: into characters (the space is one) or words."""

    symbols: tuple[str, ...]
    kind: Kind = "characters"

    @classmethod
    def from_texts(cls, texts: Iterable[str], kind: Kind = "characters") -> Tokens:
        """The symbols that occur in ``texts``, sorted, behind the blank."""
        found: set[str] = set()
        for text in texts:
            found.update(_split(text, kind))
        return cls((BLANK, *sorted(found)), kind)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: i for i, symbol in enumerate(self.symbols)}

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``. Raises :class:`ValueError` naming every symbol that is not a token."""
        if unknown := self.unknown(text):
            raise ValueError(
                f"`text` must consist of the {len(self) - 1} tokens, but {text!r} has {unknown} instead."
            )
        return [self._ids[symbol] for symbol in _split(text, self.kind)]

    def unknown(self, text: str) -> list[str]:
        """The symbols of ``text`` that are not tokens, sorted."""
        return sorted({symbol for symbol in _split(text, self.kind) if symbol not in self._ids})

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids``; blanks are left out, nothing else is collapsed."""
        return ("" if self.kind == "characters" else " ").join(self.symbols[i] for i in ids if i != 0)

    def is_space(self, token: int) -> bool:
        """Whether this token only separates words."""
        return self.symbols[token] == " "

    def save(self, path: Path) -> None:
        """Write ``symbol id`` lines; the space is a line with an id alone."""
        path.write_text("".join(f"{symbol} {i}\n" for i, symbol in enumerate(self.symbols)), encoding="utf-8")

    @classmethod
    def load(cls, path: Path, kind: Kind = "characters") -> Tokens:
        """Read what :meth:`save` wrote."""
        lines = path.read_text(encoding="utf-8").splitlines()
        return cls(tuple(line.rpartition(" ")[0] for line in lines), kind)


def _split(text: str, kind: Kind) -> Sequence[str]:
    return text if kind == "characters" else text.split()


def min_ctc_frames(ids: Sequence[int]) -> int:
    """The fewest frames that CTC needs for ``ids``: one each, and a blank between equal neighbours."""
    return len(ids) + sum(a == b for a, b in itertools.pairwise(ids))
