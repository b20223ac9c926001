"""From paths to tokens, words and texts."""

from __future__ import annotations

from itertools import groupby

import torch
from hypothesis import given
from hypothesis import strategies as st

from supernet.recognition.decoding import Span, greedy, spans, words
from supernet.text.tokens import Tokens

TOKENS = Tokens(("<blk>", " ", "a", "b"))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20))
def test_greedy_decoding_collapses_repetitions_and_removes_blanks(path: list[int]) -> None:
    log_probs = torch.nn.functional.one_hot(torch.tensor([path]), 4).float()
    expected = "".join(TOKENS.symbols[token] for token, _ in groupby(path) if token)
    assert greedy(log_probs, [len(path)], TOKENS) == [expected]


def test_greedy_decoding_ignores_padding() -> None:
    log_probs = torch.nn.functional.one_hot(torch.tensor([[2, 0, 2, 3], [3, 3, 3, 3]]), 4).float()
    assert greedy(log_probs, [3, 1], TOKENS) == ["aa", "b"]


def test_words_are_joined_by_spaces() -> None:
    tokens = Tokens(("<blk>", "one", "two"), "words")
    log_probs = torch.nn.functional.one_hot(torch.tensor([[1, 1, 0, 2, 2, 0, 2]]), 3).float()
    assert greedy(log_probs, [7], tokens) == ["one two two"]


def test_spans_are_the_frames_of_tokens() -> None:
    assert spans([0, 2, 2, 0, 2, 3, 3]) == [Span(2, 1, 3), Span(2, 4, 5), Span(3, 5, 7)]
    assert spans([]) == spans([0, 0]) == []


def test_words_are_separated_by_spaces() -> None:
    found = spans([1, 2, 3, 0, 1, 1, 2, 1, 1])
    assert words(found, TOKENS) == [[Span(2, 1, 2), Span(3, 2, 3)], [Span(2, 6, 7)]]
    assert words([], TOKENS) == []


def test_each_token_of_words_is_a_word() -> None:
    tokens = Tokens(("<blk>", "one", "two"), "words")
    assert words(spans([1, 2, 2]), tokens) == [[Span(1, 0, 1)], [Span(2, 1, 3)]]
