"""Texts of paths are those of the recognizer, for every kind of tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernet.recognition.transcript import passage, transcript
from supernet.runtime.symbols import Symbols
from supernet.text.tokens import BLANK, Tokens
from tasks.reading.vocabulary import learn

KINDS = {
    "characters": Tokens((BLANK, " ", "a", "b", "é", "e", "\u0301", "'")),
    "words": Tokens((BLANK, "one", "two", "three"), "words"),
    "pieces": Tokens.from_model(learn("bpe", 6, False, 5 * ["ab a éb ab"])),
    "bytes": Tokens.from_model(learn("unigram", None, True, 5 * ["ab a ab", "ba"])),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_the_text_of_a_path_is_that_of_the_recognizer(kind: str, data: st.DataObject) -> None:
    tokens = KINDS[kind]
    outputs = [i for i, symbol in enumerate(tokens.symbols) if symbol not in ("<sos/eos>", "<unk>")]
    path = data.draw(st.lists(st.sampled_from(outputs), max_size=20))
    expected = transcript([passage(path, 0, tokens, 0.04)], 1.0).text
    assert Symbols(tokens.symbols, tokens.kind).text(path) == expected


def test_bytes_become_characters() -> None:
    tokens = KINDS["bytes"]
    path = [frame for i in tokens.encode("ab ü€ 猫a") for frame in (i, 0)]
    assert Symbols(tokens.symbols, tokens.kind).text(path) == "ab ü€ 猫a"
