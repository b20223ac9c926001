"""The tokens of a recognizer as the files of a tokenizer of `transformers`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from supernet.text.tokens import BLANK, Tokens

_BLANKS = ("<pad>", BLANK, "<ctc>")
_DELIMITERS = ("|", "▁", "<space>")
_UNKNOWN = "<unk>"
_UNKNOWN_TYPE, _BPE = 2, 2
"""Numbers of a kind of pieces and of a kind of models in SentencePiece's format."""


def tokenizer_of(tokens: Tokens) -> Any:
    """A tokenizer of `transformers` with the same numbers, whose padding is the blank."""
    import transformers

    blank = _free(_BLANKS, tokens)
    if tokens.kind == "pieces":
        unknown, core = _pieces(tokens, blank)
        return transformers.ParakeetTokenizerFast(
            tokenizer_object=core, pad_token=blank, unk_token=unknown, clean_up_tokenization_spaces=False
        )
    delimiter = _free(_DELIMITERS, tokens) if tokens.kind == "characters" else None
    symbols = [blank, *(delimiter if symbol == " " else symbol for symbol in tokens.symbols[1:])]
    special = {
        "pad_token": blank,
        "unk_token": _UNKNOWN if _UNKNOWN in symbols else blank,
        "bos_token": None,
        "eos_token": None,
        "word_delimiter_token": delimiter,
        "clean_up_tokenization_spaces": False,
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vocab.json"
        file.write_text(json.dumps({symbol: i for i, symbol in enumerate(symbols)}), encoding="utf-8")
        if tokens.kind == "words":  # separated by spaces, as its phonemes
            return transformers.Wav2Vec2PhonemeCTCTokenizer(str(file), do_phonemize=False, **special)
        return transformers.Wav2Vec2CTCTokenizer(str(file), **special)


def _free(names: tuple[str, ...], tokens: Tokens) -> str:
    """The first of ``names`` that is none of ``tokens`` but the blank."""
    return next(name for name in names if name not in tokens.symbols[1:])


def _pieces(tokens: Tokens, blank: str) -> tuple[str, Any]:
    """The symbol of unknown characters, and the core of a tokenizer that splits as SentencePiece."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    messages: Any = sentencepiece_model_pb2
    proto = messages.ModelProto.FromString(tokens.model)
    scores = {piece.piece: piece.score for piece in proto.pieces}
    symbols, is_bytes = [blank, *tokens.symbols[1:]], proto.trainer_spec.byte_fallback
    named = (piece.piece for piece in proto.pieces if piece.type == _UNKNOWN_TYPE)
    unknown = next((piece for piece in named if piece in symbols), blank)
    if proto.trainer_spec.model_type == _BPE:
        vocabulary = {symbol: i for i, symbol in enumerate(symbols)}
        merges = list(_merges(scores, vocabulary))
        model = models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=is_bytes)
    else:
        scored = [(symbol, scores.get(symbol, 0.0)) for symbol in symbols]
        model = models.Unigram(scored, symbols.index(unknown), is_bytes)
    core = tokenizers.Tokenizer(model)
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    core.decoder = decoders.Metaspace(prepend_scheme="always")
    if is_bytes:
        core.decoder = decoders.Sequence([decoders.ByteFallback(), core.decoder])
    return unknown, core


def _merges(scores: Mapping[str, float], vocabulary: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """The pairs that make each piece, those of the piece that is merged first at the beginning."""
    for piece in sorted(scores, key=lambda piece: -scores[piece]):
        for i in range(1, len(piece)):
            if piece[:i] in vocabulary and piece[i:] in vocabulary:
                yield piece[:i], piece[i:]
