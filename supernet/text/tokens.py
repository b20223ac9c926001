"""Tokens: what the recognizer can write. The blank is 0; the file is the one sherpa-onnx reads."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from sentencepiece import SentencePieceProcessor

from supernet.system.files import read_text, write_whole
from supernet.text.spelling import unified

BLANK = "<blk>"
MODEL_FILE = "bpe.model"
"""The SentencePiece model beside ``tokens.txt``, where tokens are pieces; other programs call it so, too."""

_BLANKS = (BLANK, "<blank>", "<eps>")
_BEGIN = "▁"
"""SentencePiece's sign for the space before a word."""
_STAND_IN = "\ue581"
"""In pieces, for that sign where a text has it itself; of the area for private use, as nobody says it."""
_FOREIGN = re.compile(
    r"<(unk|space|pad|mask|eps|s|/s|sos|eos|sos/eos|bos|blank|blk)>|\[(UNK|PAD)\]|#\d+|!SIL", re.IGNORECASE
)
"""What lists of tokens and words elsewhere hold besides what is said."""
_BEFORE_BYTES = ("<sos/eos>", "<unk>")
"""Never written; sherpa-onnx takes the ids 3 to 258 for the bytes."""

Kind = Literal["characters", "words", "pieces"]


@dataclass(frozen=True)
class Tokens:
    """Symbols by id. ``kind`` says how a text is split: into characters (the space is one), words, or pieces
    of words, which ``model``, SentencePiece's (arXiv 1808.06226), finds. Raises ``ValueError`` where
    the model has pieces that are no symbols.
    """

    symbols: tuple[str, ...]
    kind: Kind = "characters"
    model: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.kind == "pieces") != (self.model is not None):
            raise ValueError(f"`model` must go with pieces, but the tokens are {self.kind}.")
        if self.model is not None and (missing := set(_pieces(self._processor)) - set(self.symbols)):
            raise ValueError(
                f"the SentencePiece model must have the tokens' pieces, but {min(missing)!r} is no token."
            )

    @classmethod
    def from_texts(cls, texts: Iterable[str], kind: Literal["characters", "words"] = "characters") -> Tokens:
        """The symbols that occur in ``texts``, sorted, behind the blank."""
        found: set[str] = set()
        for text in texts:
            text = unified(text)
            found.update(text if kind == "characters" else text.split())
        return cls((BLANK, *sorted(found)), kind)

    @classmethod
    def from_model(cls, model: bytes) -> Tokens:
        """The pieces of a SentencePiece model. Raises ``ValueError`` where it is none."""
        return cls((BLANK, *_pieces(_opened(model))), "pieces", model)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: i for i, symbol in enumerate(self.symbols)}

    @cached_property
    def _processor(self) -> SentencePieceProcessor:
        return _opened(self.model or b"")

    def __len__(self) -> int:
        return len(self.symbols)

    def _split(self, text: str) -> Sequence[str]:
        text = unified(text)
        if self.kind == "pieces":
            pieces: list[str] = self._processor.encode(for_pieces(text), out_type=str)
            return pieces
        return text if self.kind == "characters" else text.split()

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``. Raises ``ValueError`` naming every symbol that is not a token."""
        try:
            return [self._ids[symbol] for symbol in self._split(text)]
        except KeyError:
            raise ValueError(
                f"`text` must consist of the {len(self) - 1} tokens, but {text!r} has {self.unknown(text)} "
                "instead."
            ) from None

    def encode_known(self, text: str) -> list[int]:
        """Ids of ``text`` without the symbols that are not tokens: these can only be got wrong."""
        return [self._ids[symbol] for symbol in self._split(text) if symbol in self._ids]

    def unknown(self, text: str) -> list[str]:
        """The symbols of ``text`` that are not tokens, sorted."""
        unknown = {symbol for symbol in self._split(text) if symbol not in self._ids}
        if self.kind == "pieces":  # unknown characters in a row come as one
            unknown = {_seen(char) for piece in unknown for char in piece}
        return sorted(unknown)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids``; blanks are left out, nothing else is collapsed."""
        symbols = [self.symbols[i] for i in ids if i != 0]
        if self.kind == "pieces":
            return unified(_seen(str(self._processor.decode(symbols))))
        return unified(("" if self.kind == "characters" else " ").join(symbols))

    def is_space(self, token: int) -> bool:
        """Whether this token only separates words."""
        return self.symbols[token] == (_BEGIN if self.kind == "pieces" else " ")

    def starts_word(self, token: int) -> bool:
        """Whether a word begins with this token, whatever stands before it."""
        return self.kind == "words" or (self.kind == "pieces" and self.symbols[token].startswith(_BEGIN))

    def scores(self) -> list[tuple[str, float]]:
        """Every piece of the SentencePiece model and its score there, in the model's order."""
        ids = range(self._processor.vocab_size())
        return [(self._processor.id_to_piece(i), self._processor.get_score(i)) for i in ids]

    def save(self, path: Path) -> None:
        """Write ``symbol id`` lines, the space as a line with an id alone; a model goes beside them."""
        write_whole(path, "".join(f"{symbol} {i}\n" for i, symbol in enumerate(self.symbols)))
        if self.model is not None:
            write_whole(path.with_name(MODEL_FILE), self.model)

    @classmethod
    def load(cls, path: Path, kind: Kind | None = None) -> Tokens:
        """Read what ``save`` wrote, or a SentencePiece ``.model``.

        Without ``kind`` it is pieces where their model lies beside the file, characters where each symbol is
        one, and words otherwise. Raises ``ValueError`` where the file is something else.
        """
        if path.suffix == ".model":
            return cls.from_model(path.read_bytes())
        model = path.with_name(MODEL_FILE)
        if kind == "pieces" or (kind is None and model.is_file()):
            return cls(_read(path), "pieces", model.read_bytes())
        symbols = _read(path, "NFC")
        return cls(symbols, kind or _kind(symbols))


def for_pieces(text: str) -> str:
    """``text`` as SentencePiece must get it: its own sign would come back as a space."""
    return text.replace(_BEGIN, _STAND_IN)


def _seen(text: str) -> str:
    return text.replace(_STAND_IN, _BEGIN)


def _opened(model: bytes) -> SentencePieceProcessor:
    """What splits texts by a SentencePiece model. Raises ``ValueError`` where it is none."""
    try:
        processor = SentencePieceProcessor(model_proto=model)
        if _pieces(processor):  # each can be read
            return processor
    except (RuntimeError, UnicodeDecodeError):
        pass
    raise ValueError("it must be a SentencePiece model, but is not.")


def _pieces(processor: Any) -> list[str]:
    """What the model can write, in its order, but the bytes first."""
    ids = range(processor.vocab_size())
    written = [i for i in ids if not (processor.is_unknown(i) or processor.is_control(i))]
    names = {i: processor.id_to_piece(i) for i in written if not processor.is_unused(i)}
    in_bytes = [name for i, name in names.items() if processor.is_byte(i)]
    known = {*in_bytes, *_BLANKS, *_BEFORE_BYTES}
    return [*(_BEFORE_BYTES if in_bytes else ()), *in_bytes, *(n for n in names.values() if n not in known)]


def _read(path: Path, form: Literal["NFC"] | None = None) -> tuple[str, ...]:
    """The symbols in a file; in Unicode's ``form`` if one is given, as pieces are what their model says they
    are. A symbol is no text: one that joins letters may stand alone.
    """
    lines = read_text(path).removesuffix("\n").split("\n")
    for i, line in enumerate(lines):
        if line.rpartition(" ")[2] != str(i):
            raise ValueError(f"line {i + 1} must be a symbol and its id {i}, but is {line!r} instead.")
    blank, *symbols = (line.rpartition(" ")[0] or " " for line in lines)
    symbols = [unicodedata.normalize(form, symbol) for symbol in symbols] if form else symbols
    if blank not in _BLANKS:
        raise ValueError(f"line 1 must be the blank, '{BLANK} 0', but is {lines[0]!r} instead.")
    if twice := [symbol for symbol, count in Counter(symbols).items() if count > 1]:
        raise ValueError(f"every symbol must stand there once, but {twice[0]!r} stands there twice.")
    return BLANK, *symbols


def _kind(symbols: Sequence[str]) -> Literal["characters", "words"]:
    if any(len(symbol) > 1 and symbol.startswith(_BEGIN) for symbol in symbols):
        raise ValueError(
            f"symbols with {_BEGIN} are pieces, which only their SentencePiece model finds. Put it beside "
            f"the file as {MODEL_FILE}, or give it instead."
        )
    if foreign := [symbol for symbol in symbols[1:] if _FOREIGN.fullmatch(symbol)]:
        raise ValueError(
            f"it is another program's list, as {', '.join(foreign[:4])} are signs of its own, which nobody "
            "says. Leave these lines out and number the others anew, the space as a line with an id alone; "
            "or let tokens be made of the training texts: characters, words, unigram or bpe."
        )
    return "characters" if all(len(symbol) == 1 for symbol in symbols[1:]) else "words"


def min_ctc_frames(ids: Sequence[int]) -> int:
    """The fewest frames that CTC needs for ``ids``: one each, and a blank between equal neighbors."""
    return len(ids) + sum(a == b for a, b in itertools.pairwise(ids))
