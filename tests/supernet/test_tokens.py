"""Tokens and their file, which other programs read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernet.tokens import Kind, Tokens, min_ctc_frames

texts = st.lists(st.text("abc 'é", min_size=1), min_size=1, max_size=5)


def test_the_file_is_symbol_and_id_and_a_space_is_an_id_alone(tmp_path: Path) -> None:
    Tokens.from_texts(["ba c"]).save(tmp_path / "tokens.txt")
    assert (tmp_path / "tokens.txt").read_text(encoding="utf-8") == "<blk> 0\n  1\na 2\nb 3\nc 4\n"


@given(texts, st.sampled_from(["characters", "words"]))
def test_a_file_gives_the_same_tokens_again(
    tmp_path_factory: pytest.TempPathFactory, found: list[str], kind: Kind
) -> None:
    tokens = Tokens.from_texts(found, kind)
    path = tmp_path_factory.mktemp("tokens") / "tokens.txt"
    tokens.save(path)
    assert Tokens.load(path, kind) == tokens


@given(texts)
def test_characters_are_written_back_exactly(found: list[str]) -> None:
    tokens = Tokens.from_texts(found)
    for text in found:
        ids = tokens.encode(text)
        assert tokens.decode(ids) == text
        assert 0 not in ids


@given(texts)
def test_words_are_written_back_with_single_spaces(found: list[str]) -> None:
    tokens = Tokens.from_texts(found, "words")
    for text in found:
        assert tokens.decode(tokens.encode(text)) == " ".join(text.split())


def test_symbols_are_sorted_behind_the_blank() -> None:
    assert Tokens.from_texts(["two one", "one"], "words").symbols == ("<blk>", "one", "two")
    assert Tokens.from_texts(["ba ", "c"]).symbols == ("<blk>", " ", "a", "b", "c")


def test_every_symbol_that_is_no_token_is_named() -> None:
    with pytest.raises(ValueError, match=r"'abüx' has \['x', 'ü'\] instead"):
        Tokens.from_texts(["ab"]).encode("abüx")


def test_blanks_are_left_out() -> None:
    assert Tokens.from_texts(["ab"]).decode([0, 1, 0, 0, 1, 2, 0]) == "aab"


@pytest.mark.parametrize(
    ("ids", "frames"), [([], 0), ([1], 1), ([1, 2, 1], 3), ([1, 1], 3), ([2, 2, 2, 1, 1], 8)]
)
def test_repetitions_need_a_blank_between_them(ids: list[int], frames: int) -> None:
    assert min_ctc_frames(ids) == frames
