"""Output tokens of a corpus: its characters, its words, subword units learned from its training texts, or
existing tokens.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from sentencepiece import SentencePieceTrainer

from supernet.system.files import refusal
from supernet.task import TaskError
from supernet.text.tokens import MODEL_FILE, Tokens, for_pieces
from tasks.files.cache import digest, make_once

VERSION = 1
"""Raise it when the same texts and options yield other subword units."""

Learned = Literal["unigram", "bpe"]
TokenKind = Literal["characters", "words", "unigram", "bpe"] | Path
"""The kind of tokens into which texts are split, or a file of tokens."""

DEFAULT_SIZE = 500
_RESERVED = 2
"""Number of unused ids before the bytes."""
_LONGEST = 1 << 20
"""Maximum bytes of a text; by default, SentencePiece would leave out texts above 4192."""


def check_token_kind(choice: TokenKind) -> TokenKind:
    """Raise ``ValueError`` if a path is not that of a file of tokens."""
    if isinstance(choice, Path) and choice.suffix not in (".txt", ".model"):
        raise ValueError(
            "`task.tokens` must be characters, words, unigram, bpe, or the path of a tokens.txt or of a "
            f"SentencePiece .model, but is '{choice}' instead"
        )
    return choice


def make_tokens(
    choice: TokenKind, size: int | None, byte_fallback: bool, texts: Iterable[str], cache: Path
) -> Tokens:
    """Make the tokens for training on ``texts``.

    Args:
        choice: How texts are split, or a file of tokens.
        size: The number of learned subword units; None for 500, or as many as the texts yield.
        byte_fallback: Whether subword units include bytes, for out-of-vocabulary characters.
        texts: The training texts, which are iterated twice.
        cache: The folder in which learned subword units are kept.

    Raises:
        TaskError: If the tokens cannot be learned or loaded.
    """
    if choice == "characters" or choice == "words":
        return Tokens.from_texts(texts, choice)
    if isinstance(choice, Path):
        return _load(choice)
    folder = cache / f"pieces-{digest([VERSION, choice, size, byte_fallback, _fingerprint(texts)])}"

    def build(partial: Path) -> None:
        (partial / MODEL_FILE).write_bytes(learn(choice, size, byte_fallback, texts))

    make_once(folder, build)
    return Tokens.from_model((folder / MODEL_FILE).read_bytes())


def learn(kind: Learned, size: int | None, byte_fallback: bool, texts: Iterable[str]) -> bytes:
    """Train a SentencePiece model. Texts are not normalized, so that decoded tokens can be scored against
    them.
    """
    reserved = _RESERVED if byte_fallback else 0
    wanted = DEFAULT_SIZE if size is None else size
    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=map(for_pieces, texts),
            model_writer=model,
            model_type=kind,
            vocab_size=wanted - reserved,  # its unknown token is our blank
            hard_vocab_limit=size is not None,
            byte_fallback=byte_fallback,
            character_coverage=1.0,
            normalization_rule_name="identity",
            max_sentence_length=_LONGEST,
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            num_threads=1,  # with more, sums depend on the order of threads
            minloglevel=3,
        )
    except (RuntimeError, OSError) as error:
        raise TaskError(_explain(str(error), wanted, reserved)) from None
    return model.getvalue()


def _explain(message: str, wanted: int, reserved: int) -> str:
    but = f"for the training texts of this corpus, but is {wanted} instead"
    if found := re.search(r"value <= (\d+)", message):
        most = int(found[1]) + reserved
        return f"`vocab_size` must be at most {most} {but}. Use `task.vocab_size={most}`, or omit it."
    if found := re.search(r"\d+ vs (\d+)", message):
        least, why = int(found[1]) + reserved, "every character is a token"
        return f"`vocab_size` must be at least {least} {but}: {why}. Use `task.vocab_size={least}`."
    return f"`tokens` must be learned from the training texts, but cannot be: {' '.join(message.split())}"


def _load(path: Path) -> Tokens:
    if why := refusal(path):
        raise TaskError(f"`tokens` must be a file of tokens, but {why}.")
    try:
        return Tokens.load(path)
    except OSError as error:
        problem = f"it cannot be read: {error.strerror}."
    except ValueError as error:
        problem = str(error)
    raise TaskError(f"`tokens` must be a file of tokens, but '{path}' is not: {problem}")


def _fingerprint(texts: Iterable[str]) -> str:
    sha = hashlib.sha256()
    for text in texts:
        sha.update(text.encode() + b"\n")
    return sha.hexdigest()
