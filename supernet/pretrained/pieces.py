"""The pieces of words that a tokenizer has, as tokens with a SentencePiece model (arXiv 1808.06226)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from supernet.errors import UserError
from supernet.pretrained.vocabulary import Vocabulary, check_rows, tokenizer_settings
from supernet.system.files import read_json
from supernet.text.tokens import BLANK, Tokens

FILE, MODEL = "tokenizer.json", "tokenizer.model"
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_UNKNOWN = "<unk>"
_NORMAL, _UNKNOWN_TYPE, _BYTE_TYPE = 1, 2, 6
_TYPES = {"Unigram": 1, "BPE": 2}
"""The numbers of kinds of pieces and of models in SentencePiece's format."""


def read_pieces(folder: Path, num_rows: int, blank: object) -> Vocabulary:
    """The tokens of a checkpoint whose tokenizer splits texts into pieces of words.

    Raises:
        UserError: The vocabulary cannot be read or does not fit the head.
    """
    file = folder / FILE
    if not file.is_file() and (folder / MODEL).is_file():
        return from_sentencepiece((folder / MODEL).read_bytes(), num_rows, str(folder / MODEL))
    data = read_json(file)
    try:
        scores, symbols = _scores(data["model"]), _symbols(data)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(
            f"'{file}' must hold a tokenizer of type {' or '.join(_TYPES)}, but does not."
        ) from None
    check_rows(file, symbols, num_rows)
    special = {str(token.get("content")) for token in data.get("added_tokens", [])}
    named = tokenizer_settings(folder).get("pad_token")
    numbers = {symbol: i for i, symbol in symbols.items()}
    pad = numbers.get(str(named.get("content") if isinstance(named, Mapping) else named), blank)
    if not isinstance(pad, int) or pad not in symbols:
        raise UserError(f"'{file}' must have the blank, which its tokenizer calls '{named}', but has not.")
    unknown = _unknown(data["model"], symbols)
    usual = {
        piece: score for piece, score in scores.items() if piece not in {*special, unknown, symbols[pad]}
    }
    return _vocabulary(symbols, pad, _model(usual, unknown, _TYPES[data["model"]["type"]]))


def from_sentencepiece(model: bytes, num_rows: int, name: str, blank: int | None = None) -> Vocabulary:
    """The tokens of a SentencePiece model, of which ``blank`` is the blank. None: there is one more output of
    the head, the last one.
    """
    try:
        processor: Any = SentencePieceProcessor(model_proto=model)
        symbols = {i: processor.id_to_piece(i) for i in range(processor.vocab_size())}
    except (RuntimeError, UnicodeDecodeError):
        raise UserError(f"'{name}' must be a SentencePiece model, but is not.") from None
    if blank is None:
        blank = len(symbols)
        symbols[blank] = BLANK
    check_rows(Path(name), symbols, num_rows)
    return _vocabulary(symbols, blank, model)


def _vocabulary(symbols: Mapping[int, str], blank: int, model: bytes) -> Vocabulary:
    order = [blank, *(i for i in sorted(symbols) if i != blank)]
    return Tokens((BLANK, *(symbols[i] for i in order[1:])), "pieces", model), order


def _symbols(data: Mapping[str, Any]) -> dict[int, str]:
    vocabulary = data["model"]["vocab"]
    if isinstance(vocabulary, Mapping):
        found = {int(i): str(piece) for piece, i in vocabulary.items()}
    else:
        found = {i: str(piece) for i, (piece, _) in enumerate(vocabulary)}
    return found | {int(token["id"]): str(token["content"]) for token in data.get("added_tokens", [])}


def _scores(model: Mapping[str, Any]) -> dict[str, float]:
    """The score of each piece; a piece that is merged earlier has a higher one."""
    if model["type"] == "Unigram":
        return {str(piece): float(score) for piece, score in model["vocab"]}
    if model["type"] != "BPE":
        raise ValueError
    merged = ["".join(_pair(merge)) for merge in model["merges"]]
    ranks = {piece: -float(i) for i, piece in reversed(list(enumerate(merged)))}
    return {piece: ranks.get(piece, -float(len(merged))) for piece in model["vocab"]}


def _pair(merge: str | Sequence[str]) -> Sequence[str]:
    return merge.split(" ") if isinstance(merge, str) else merge


def _unknown(model: Mapping[str, Any], symbols: Mapping[int, str]) -> str:
    if isinstance(number := model.get("unk_id"), int) and number in symbols:
        return symbols[number]
    return str(model.get("unk_token") or _UNKNOWN)


def _model(scores: Mapping[str, float], unknown: str, type: int) -> bytes:
    messages: Any = sentencepiece_model_pb2
    proto = messages.ModelProto()
    proto.pieces.add(piece=unknown, score=0.0, type=_UNKNOWN_TYPE)
    for piece, score in scores.items():
        kind = _BYTE_TYPE if _BYTE.fullmatch(piece) else _NORMAL
        proto.pieces.add(piece=piece, score=score, type=kind)
    proto.trainer_spec.model_type = type
    proto.trainer_spec.byte_fallback = any(_BYTE.fullmatch(piece) for piece in scores)
    proto.trainer_spec.unk_piece = unknown
    proto.normalizer_spec.name = "identity"
    found: bytes = proto.SerializeToString()
    return found
