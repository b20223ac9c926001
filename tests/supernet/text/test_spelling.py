"""Normalization of spelling: text that looks the same becomes the same, and no visible character is lost."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supernet.scoring.error_rates import count_errors, count_words
from supernet.text.spelling import normal, unified

signs = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("aé\u0301\u200b\u200c\u200d\u00ad\ufeff\u2060 \u0628\u0646\u0915\u094d\u1100\u1161"),
    )
)


@given(signs)
@example("\u0628\u200c\u00ad x")
@example("\u0628\u200c\u200d\u200cx")
def test_normalization_is_idempotent(text: str) -> None:
    assert unified(unified(text)) == unified(text)
    assert normal(normal(text)) == normal(text)
    assert unicodedata.is_normalized("NFC", unified(text))


@given(signs)
def test_composed_and_decomposed_text_becomes_the_same(text: str) -> None:
    assert normal(unicodedata.normalize("NFD", text)) == normal(text)
    assert not count_errors([unicodedata.normalize("NFD", text)], [text]).any()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cafe\u0301", "caf\u00e9"),
        ("zero\u200bwidth \u00adsoft\ufeff \u2060joined", "zerowidth soft joined"),
        ("a\u200db\u200cc", "abc"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # Persian: part of the spelling
        ("ک\u0654تاب\u200c ها", "ک\u0654تاب ها"),  # separates nothing at the end of a word
        ("क्\u200dष न\u094d\u200c", "क्\u200dष न\u094d"),
        ("\U0001f469\u200d\U0001f4bb", "\U0001f469\u200d\U0001f4bb"),
        ("\u05e9\u200f\u05dc\u200e", "\u05e9\u05dc"),
        (" tab\tand\nline\u00a0space ", "tab and line space"),
        ("plain ascii", "plain ascii"),
    ],
)
def test_examples(text: str, expected: str) -> None:
    assert normal(text) == expected


def test_differences_in_spelling_are_not_errors() -> None:
    assert count_errors(["cafe\u0301 a\u200bb"], ["caf\u00e9 ab"]).tolist() == [[0, 0]]
    assert count_words(["cafe\u0301 a\u200bb"]).tolist() == [[2, 7]]
