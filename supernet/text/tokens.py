"""Output tokens of the recognizer. The blank is 0; the file format is that of sherpa-onnx."""

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
from supernet.text.spelling import Case, in_case, unified

BLANK = "<blk>"
BLANK_ID = 0
MODEL_FILE = "bpe.model"
"""The SentencePiece model beside ``tokens.txt`` if tokens are pieces; other programs use this name, too."""

_BLANKS = (BLANK, "<blank>", "<eps>")
_BEGIN = "▁"
"""SentencePiece's sign for the space before a word."""
_STAND_IN = "\ue581"
"""Replaces that sign in texts that contain it; a private-use character, which transcripts never contain."""
_FOREIGN = re.compile(
    r"<(unk|space|pad|mask|eps|s|/s|sos|eos|sos/eos|bos|blank|blk)>|\[(UNK|PAD)\]|#\d+|!SIL", re.IGNORECASE
)
"""Special symbols in token lists of other programs."""
_NAMED = re.compile(r"<.+>|\[.+\]")
"""Symbols that stand for something else than their characters."""
_BEFORE_BYTES = ("<sos/eos>", "<unk>")
"""Never output; sherpa-onnx expects the bytes at ids 3 to 258."""

Kind = Literal["characters", "words", "pieces"]


@dataclass(frozen=True)
class Tokens:
    """The output tokens of a model.

    Args:
        symbols: The symbol of each token id; the first is the blank.
        kind: How texts are split: into characters (including the space), words, or subword pieces.
        model: The SentencePiece model (arXiv 1808.06226) of pieces.

    Raises:
        ValueError: ``model`` is missing or given without pieces, or has pieces that are not symbols.
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
        """The blank, followed by the symbols of ``texts`` in sorted order."""
        found: set[str] = set()
        for text in texts:
            text = unified(text)
            found.update(text if kind == "characters" else text.split())
        return cls((BLANK, *sorted(found)), kind)

    @classmethod
    def from_model(cls, model: bytes) -> Tokens:
        """The pieces of a SentencePiece model. Raises ``ValueError`` if it is not one."""
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
        """Token ids of ``text``. Raises ``ValueError``, naming every symbol that is not a token."""
        try:
            return [self._ids[symbol] for symbol in self._split(text)]
        except KeyError:
            raise ValueError(
                f"`text` must consist of the {len(self) - 1} tokens, but {text!r} has {self.unknown(text)} "
                "instead."
            ) from None

    def encode_known(self, text: str) -> list[int]:
        """Token ids of ``text`` without symbols that are not tokens, which count as errors."""
        return [self._ids[symbol] for symbol in self._split(text) if symbol in self._ids]

    def unknown(self, text: str) -> list[str]:
        """The symbols of ``text`` that are not tokens, sorted."""
        unknown = {symbol for symbol in self._split(text) if symbol not in self._ids}
        if self.kind == "pieces":  # consecutive unknown characters form one piece
            unknown = {_seen(char) for piece in unknown for char in piece}
        return sorted(unknown)

    def spells(self, others: Tokens) -> bool:
        """Whether these tokens spell all texts that ``others`` spell."""
        if self == others or others.kind == "pieces":
            return self == others
        if others.kind == "words" or self.kind == "words":
            return self.kind == others.kind and set(others.symbols) <= set(self.symbols)
        return not self.unknown("".join(others.symbols[1:]))

    @property
    def case(self) -> Case:
        """The only case of all letters, if tokens are characters or pieces that have one."""
        letters = "" if self.kind == "words" else "".join(s for s in self.symbols if not _NAMED.fullmatch(s))
        cases: tuple[Case, ...] = ("lower", "upper")
        found: list[Case] = [case for case in cases if in_case(letters, case) == letters]
        return found[0] if len(found) == 1 else "as-is"

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids``; blanks are removed, and repetitions are kept."""
        symbols = [self.symbols[i] for i in ids if i != 0]
        if self.kind == "pieces":
            return unified(_seen(str(self._processor.decode(symbols))))
        return unified(("" if self.kind == "characters" else " ").join(symbols))

    def is_space(self, token: int) -> bool:
        """Whether the token only separates words."""
        return self.symbols[token] == (_BEGIN if self.kind == "pieces" else " ")

    def starts_word(self, token: int) -> bool:
        """Whether the token always starts a word."""
        return self.kind == "words" or (self.kind == "pieces" and self.symbols[token].startswith(_BEGIN))

    def scores(self) -> list[tuple[str, float]]:
        """The pieces of the SentencePiece model and their scores, in the model's order."""
        ids = range(self._processor.vocab_size())
        return [(self._processor.id_to_piece(i), self._processor.get_score(i)) for i in ids]

    def save(self, path: Path) -> None:
        """Write lines ``symbol id``, the space as a line with an id only; a model goes beside the file."""
        write_whole(path, "".join(f"{symbol} {i}\n" for i, symbol in enumerate(self.symbols)))
        if self.model is not None:
            write_whole(path.with_name(MODEL_FILE), self.model)

    @classmethod
    def load(cls, path: Path, kind: Kind | None = None) -> Tokens:
        """Read a file written by ``save``, or a SentencePiece ``.model``.

        Args:
            path: The file.
            kind: If None, it is pieces if their model lies beside the file, characters if each symbol is one
                character, and words otherwise.

        Raises:
            ValueError: The file is neither.
        """
        if path.suffix == ".model":
            return cls.from_model(path.read_bytes())
        model = path.with_name(MODEL_FILE)
        if kind == "pieces" or (kind is None and model.is_file()):
            return cls(_read(path), "pieces", model.read_bytes())
        symbols = _read(path, "NFC")
        return cls(symbols, kind or _kind(symbols))


def for_pieces(text: str) -> str:
    """``text`` as input for SentencePiece, which would decode its own sign as a space."""
    return text.replace(_BEGIN, _STAND_IN)


def _seen(text: str) -> str:
    return text.replace(_STAND_IN, _BEGIN)


def _opened(model: bytes) -> SentencePieceProcessor:
    """The processor of a SentencePiece model. Raises ``ValueError`` if it is not one."""
    try:
        processor = SentencePieceProcessor(model_proto=model)
        if _pieces(processor):  # every piece can be read
            return processor
    except (RuntimeError, UnicodeDecodeError):
        pass
    raise ValueError("it must be a SentencePiece model, but is not.")


def _pieces(processor: Any) -> list[str]:
    """The output pieces of the model in its order, except that bytes come first."""
    ids = range(processor.vocab_size())
    written = [i for i in ids if not (processor.is_unknown(i) or processor.is_control(i))]
    names = {i: processor.id_to_piece(i) for i in written if not processor.is_unused(i)}
    in_bytes = [name for i, name in names.items() if processor.is_byte(i)]
    known = {*in_bytes, *_BLANKS, *_BEFORE_BYTES}
    return [*(_BEFORE_BYTES if in_bytes else ()), *in_bytes, *(n for n in names.values() if n not in known)]


def _read(path: Path, form: Literal["NFC"] | None = None) -> tuple[str, ...]:
    """The symbols of a file, normalized to the Unicode form ``form`` if given; pieces must match their model.

    Symbols are not ``unified``: one may be a joiner alone.
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
        raise ValueError(f"every symbol must occur once, but {twice[0]!r} occurs twice.")
    return BLANK, *symbols


def _kind(symbols: Sequence[str]) -> Literal["characters", "words"]:
    if any(len(symbol) > 1 and symbol.startswith(_BEGIN) for symbol in symbols):
        raise ValueError(
            f"symbols with {_BEGIN} are pieces, which need their SentencePiece model. Put it beside the file "
            f"as {MODEL_FILE}, or give it instead."
        )
    if foreign := [symbol for symbol in symbols[1:] if _FOREIGN.fullmatch(symbol)]:
        raise ValueError(
            f"it is a list of another program, whose special symbols {', '.join(foreign[:4])} are never "
            "spoken. Remove these lines and renumber the others, with the space as a line with an id only; "
            "or derive tokens from the training texts: characters, words, unigram or bpe."
        )
    return "characters" if all(len(symbol) == 1 for symbol in symbols[1:]) else "words"


def min_ctc_frames(ids: Sequence[int]) -> int:
    """The fewest frames that CTC needs for ``ids``: one each, plus a blank between equal neighbors."""
    return len(ids) + sum(a == b for a, b in itertools.pairwise(ids))
