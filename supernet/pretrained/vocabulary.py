"""The vocabulary of a Hugging Face checkpoint as tokens of this project, whose blank comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supernet.errors import UserError
from supernet.system.files import read_json
from supernet.text.tokens import BLANK, Kind, Tokens

Vocabulary = tuple[Tokens, list[int]]
"""Tokens, and the row of the head for each of them."""


def read_vocabulary(folder: Path, num_rows: int, blank: object) -> Vocabulary:
    """The tokens of a checkpoint whose tokenizer splits texts into characters or phonemes.

    Args:
        folder: The folder of the checkpoint.
        num_rows: The number of outputs of its head.
        blank: The row of the blank in its head, if its tokenizer does not say.

    Raises:
        UserError: The vocabulary cannot be read or does not fit the head.
    """
    file = folder / "vocab.json"
    ids = read_json(file)
    settings = tokenizer_settings(folder)
    if (language := settings.get("target_lang")) is not None and isinstance(ids.get(str(language)), Mapping):
        ids = ids[str(language)]
    if any(type(number) is not int for number in ids.values()):
        raise UserError(f"'{file}' must give the number of each token, but does not.")
    added = _added(folder)
    symbols = {number: symbol for symbol, number in {**added, **ids}.items()}
    # A tokenizer adds marks of sentences that its head was not trained for.
    symbols = {i: s for i, s in symbols.items() if i < num_rows or s not in added}
    check_rows(file, symbols, num_rows)
    return _tokens(file, symbols, settings, blank)


def check_rows(file: Path, symbols: Mapping[int, str], num_rows: int) -> None:
    """Raise ``UserError`` if there is not one of ``symbols`` for each output of a head."""
    if set(symbols) != set(range(num_rows)):
        raise UserError(
            f"'{file}' must have one token for each of the {num_rows} outputs of the head, but has "
            f"{len(symbols)} tokens, numbered {min(symbols, default=0)} to {max(symbols, default=0)}."
        )


def _tokens(file: Path, symbols: dict[int, str], settings: Mapping[str, Any], blank: object) -> Vocabulary:
    pad, delimiter = _content(settings.get("pad_token", "<pad>")), settings.get("word_delimiter_token", "|")
    numbers = {symbol: i for i, symbol in symbols.items()}
    blank = numbers.get(pad, blank)
    if not isinstance(blank, int) or blank not in symbols:
        raise UserError(f"'{file}' must have the blank, which its tokenizer calls '{pad}', but has not.")
    order = [blank, *(i for i in sorted(symbols) if i != blank)]
    found = [_symbol(symbols[i], _content(delimiter), settings) for i in order[1:]]
    if twice := [symbol for symbol, count in Counter([BLANK, *found]).items() if count > 1]:
        raise UserError(f"'{file}' must have different tokens, but {twice[0]!r} occurs twice.")
    return Tokens((BLANK, *found), _kind(found, settings)), order


def _symbol(symbol: str, delimiter: str, settings: Mapping[str, Any]) -> str:
    if symbol == delimiter:
        return " "
    return symbol.lower() if settings.get("do_lower_case") is True else symbol


def _kind(symbols: list[str], settings: Mapping[str, Any]) -> Kind:
    """Phonemes are separated by spaces, like words."""
    is_phonemes = "Phoneme" in str(settings.get("tokenizer_class"))
    return "words" if is_phonemes and " " not in symbols else "characters"


def tokenizer_settings(folder: Path) -> dict[str, Any]:
    """The settings of the tokenizer; older ones name special tokens in a file of their own."""
    found: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            found |= read_json(folder / name)
    return found


def _added(folder: Path) -> dict[str, int]:
    file = folder / "added_tokens.json"
    data = read_json(file) if file.is_file() else {}
    return {symbol: number for symbol, number in data.items() if type(number) is int}


def _content(token: object) -> str:
    """The text of a special token, which may come with settings."""
    return str(token.get("content")) if isinstance(token, Mapping) else str(token)
