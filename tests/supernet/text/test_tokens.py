"""Tokens and their file, which other programs can read."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import SentencePieceTrainer

from supernet.recognition.decoding import Span, words
from supernet.text.spelling import normal
from supernet.text.tokens import MODEL_FILE, Kind, Tokens, min_ctc_frames
from tasks.reading.vocabulary import Learned, learn

SENTENCES = ["the cat sat on the mat", "a cat and a dog", "the dog ran over the hill", "dogs and cats äß"]
Simple = Literal["characters", "words"]

texts = st.lists(st.text("abc 'é", min_size=1), min_size=1, max_size=5)


def test_the_file_has_lines_of_symbol_and_id(tmp_path: Path) -> None:
    Tokens.from_texts(["ba c"]).save(tmp_path / "tokens.txt")
    assert (tmp_path / "tokens.txt").read_text(encoding="utf-8") == "<blk> 0\n  1\na 2\nb 3\nc 4\n"


@given(texts, st.sampled_from(["characters", "words"]))
def test_saved_tokens_are_loaded_unchanged(
    tmp_path_factory: pytest.TempPathFactory, found: list[str], kind: Simple
) -> None:
    tokens = Tokens.from_texts(found, kind)
    path = tmp_path_factory.mktemp("tokens") / "tokens.txt"
    tokens.save(path)
    assert Tokens.load(path, kind) == tokens


@given(texts)
def test_characters_are_decoded_exactly(found: list[str]) -> None:
    tokens = Tokens.from_texts(found)
    for text in found:
        ids = tokens.encode(text)
        assert tokens.decode(ids) == text
        assert 0 not in ids


@given(texts)
def test_words_are_decoded_with_single_spaces(found: list[str]) -> None:
    tokens = Tokens.from_texts(found, "words")
    for text in found:
        assert tokens.decode(tokens.encode(text)) == " ".join(text.split())


def test_symbols_are_sorted_after_the_blank() -> None:
    assert Tokens.from_texts(["two one", "one"], "words").symbols == ("<blk>", "one", "two")
    assert Tokens.from_texts(["ba ", "c"]).symbols == ("<blk>", " ", "a", "b", "c")


def test_the_error_on_unknown_symbols_lists_them_all() -> None:
    with pytest.raises(ValueError, match=r"'abüx' has \['x', 'ü'\] instead"):
        Tokens.from_texts(["ab"]).encode("abüx")


def test_blanks_are_not_decoded() -> None:
    assert Tokens.from_texts(["ab"]).decode([0, 1, 0, 0, 1, 2, 0]) == "aab"


@pytest.mark.parametrize(
    ("ids", "frames"), [([], 0), ([1], 1), ([1, 2, 1], 3), ([1, 1], 3), ([2, 2, 2, 1, 1], 8)]
)
def test_repeated_tokens_need_a_blank_between_them(ids: list[int], frames: int) -> None:
    assert min_ctc_frames(ids) == frames


def pieces(kind: Learned = "bpe", byte_fallback: bool = False) -> Tokens:
    return Tokens.from_model(learn(kind, None, byte_fallback, 5 * SENTENCES))


PIECES, WITH_BYTES = {kind: pieces(kind) for kind in get_args(Learned)}, pieces("unigram", byte_fallback=True)


@pytest.mark.parametrize("kind", get_args(Learned))
@given(st.text(" catdoghesn", min_size=1))
def test_pieces_are_decoded_with_single_spaces(kind: Learned, text: str) -> None:
    ids = PIECES[kind].encode(text)
    assert 0 not in ids
    assert PIECES[kind].decode(ids) == " ".join(text.split())
    assert PIECES[kind].decode([0, *(i for id in ids for i in (id, 0))]) == " ".join(text.split())


@pytest.mark.parametrize("kind", get_args(Learned))
def test_pieces_are_longer_than_characters(kind: Learned) -> None:
    assert len(PIECES[kind].encode(SENTENCES[0])) < len(SENTENCES[0]) - 4


def test_the_error_on_characters_outside_the_pieces_lists_them_all() -> None:
    with pytest.raises(ValueError, match=r"has \['x', 'ü'\] instead"):
        PIECES["bpe"].encode("the üxx cat")


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8))
def test_byte_fallback_encodes_any_text(text: str) -> None:
    assert WITH_BYTES.unknown(text) == []
    assert WITH_BYTES.decode(WITH_BYTES.encode(f"the {text}")) == normal(f"the {text}")


def test_bytes_have_the_ids_that_sherpa_expects() -> None:
    assert WITH_BYTES.symbols[3 : 3 + 256] == tuple(f"<0x{byte:02X}>" for byte in range(256))
    assert "<0x00>" not in PIECES["unigram"].symbols


@pytest.mark.parametrize("tokens", [PIECES["bpe"], WITH_BYTES])
def test_pieces_are_saved_with_their_model(tokens: Tokens, tmp_path: Path) -> None:
    tokens.save(tmp_path / "tokens.txt")
    assert Tokens.load(tmp_path / "tokens.txt") == tokens
    assert Tokens.load(tmp_path / MODEL_FILE) == tokens


def test_models_of_other_programs_can_be_used() -> None:
    """Their control symbols are no tokens; ids follow SentencePiece's order or that of a separate file."""
    out = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(5 * SENTENCES), model_writer=out, vocab_size=26, minloglevel=3, pad_id=3
    )
    tokens = Tokens.from_model(out.getvalue())
    assert not {"<s>", "</s>", "<pad>", "<unk>"} & {*tokens.symbols}
    assert tokens.symbols[0] == "<blk>"
    assert tokens.decode(tokens.encode("the cats")) == "the cats"
    numbered = Tokens(("<blk>", "<sos/eos>", *reversed(tokens.symbols[1:])), "pieces", out.getvalue())
    assert numbered.encode("the cats") != tokens.encode("the cats")
    assert numbered.decode(numbered.encode("the cats")) == "the cats"


def test_a_model_with_other_pieces_is_an_error() -> None:
    model = PIECES["bpe"].model
    with pytest.raises(ValueError, match=r"must have the tokens' pieces, but '.+' is no token"):
        Tokens(PIECES["bpe"].symbols[:-1], "pieces", model)
    with pytest.raises(ValueError, match="must be a SentencePiece model, but is not"):
        Tokens.from_model(b"something else")
    with pytest.raises(ValueError, match="`model` must go with pieces"):
        Tokens(("<blk>", "a"), "characters", model)


@pytest.mark.parametrize("tokens", [*PIECES.values(), WITH_BYTES])
def test_words_begin_at_pieces_that_begin_a_word(tokens: Tokens) -> None:
    ids = tokens.encode("the dogs äß")
    groups = words([Span(id, i, i + 1) for i, id in enumerate(ids)], tokens)
    assert [tokens.decode([span.token for span in group]) for group in groups] == ["the", "dogs", "äß"]
    spaces = [id for id in range(1, len(tokens)) if tokens.is_space(id)]
    assert [tokens.symbols[id] for id in spaces] == ["▁"]


@pytest.mark.parametrize(
    ("content", "kind", "symbols"),
    [
        ("<blk> 0\na 1\nb 2\n", "characters", ("a", "b")),
        ("<eps> 0\n  1\nb 2", "characters", (" ", "b")),
        ("<blank> 0\n1\nb 2", "characters", (" ", "b")),
        ("<blk> 0\none 1\na 2\n", "words", ("one", "a")),
    ],
)
def test_files_of_other_programs_are_read(
    content: str, kind: str, symbols: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "tokens.txt").write_text(content)
    tokens = Tokens.load(tmp_path / "tokens.txt")
    assert (tokens.kind, tokens.symbols) == (kind, ("<blk>", *symbols))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "line 1 must be a symbol and its id 0, but is '' instead"),
        ("<blk> 0\na 2\n", "line 2 must be a symbol and its id 1, but is 'a 2' instead"),
        ("a 0\nb 1\n", "line 1 must be the blank, '<blk> 0', but is 'a 0' instead"),
        ("<blk> 0\na 1\na 2\n", "every symbol must occur once, but 'a' occurs twice"),
        ("<blk> 0\n▁the 1\na 2\n", "pieces, which need their SentencePiece model"),
    ],
)
def test_an_invalid_file_of_tokens_is_an_error(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_text(content)
    with pytest.raises(ValueError, match=re.escape(words)):
        Tokens.load(tmp_path / "tokens.txt")


spoken = st.text("ab ▁é_", min_size=1).map(normal).filter(bool)


@given(st.lists(spoken, min_size=1, max_size=5))
def test_every_character_of_a_text_is_decoded(found: list[str]) -> None:
    """Including the character that SentencePiece uses for spaces, which may occur in texts."""
    for tokens in (
        Tokens.from_texts(found),
        Tokens.from_texts(found, "words"),
        Tokens.from_model(learn("unigram", None, False, [*found, *SENTENCES])),
        Tokens.from_model(learn("bpe", 300, True, [*found, *SENTENCES])),
    ):
        for text in found:
            assert tokens.decode(tokens.encode(text)) == text
            assert tokens.unknown(text) == []


def test_unknown_characters_are_listed_and_can_be_omitted() -> None:
    learned = pieces()
    assert learned.unknown("the ▁ cat x▁ü") == sorted("x▁ü")
    assert learned.decode(learned.encode_known("the cat")) == "the cat"
    assert Tokens.from_texts(["ab"]).encode_known("axb") == [1, 2]


def test_decomposed_symbols_are_read_as_composed_ones(tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_text("\ufeff<blk> 0\ne\u0301 1\n", encoding="utf-8")
    tokens = Tokens.load(tmp_path / "tokens.txt")
    assert tokens.symbols == ("<blk>", "\u00e9")
    assert tokens.encode("e\u0301") == tokens.encode("\u00e9") == [1]
    decomposed = Tokens(("<blk>", "e", "\u0301"))
    assert decomposed.decode([1, 2]) == "\u00e9"


JOINED = [
    "क्\u200dष त्\u200dयाग क्\u200dया",
    "می\u200cخواهم نمی\u200cشود",
    "\U0001f469\u200d\U0001f4bb ක්\u200dෂ",
]
"""Texts in which zero-width characters are part of the spelling: Hindi, Persian, emoji and Sinhala."""


@pytest.mark.parametrize("kind", ["characters", "words", "unigram", "bpe"])
def test_joiners_are_kept_by_tokens_of_all_kinds(tmp_path: Path, kind: Simple | Learned) -> None:
    if kind == "unigram" or kind == "bpe":
        tokens = Tokens.from_model(learn(kind, None, False, JOINED))
    else:
        tokens = Tokens.from_texts(JOINED, kind)
    tokens.save(tmp_path / "tokens.txt")
    again = Tokens.load(tmp_path / "tokens.txt")
    assert again == tokens
    assert [again.decode(again.encode(text)) for text in JOINED] == JOINED
    assert not any(again.unknown(text) for text in JOINED)


@given(
    st.lists(st.text(st.sampled_from("aकष\u094d\u200dم\u200cی \u0301é\U0001f469"), min_size=1), min_size=1)
)
def test_saved_tokens_of_any_script_are_loaded_unchanged(
    tmp_path_factory: pytest.TempPathFactory, found: list[str]
) -> None:
    tokens = Tokens.from_texts(map(normal, found))
    path = tmp_path_factory.mktemp("tokens") / "tokens.txt"
    tokens.save(path)
    assert Tokens.load(path, "characters") == tokens


@pytest.mark.parametrize(
    ("symbols", "kind", "case"),
    [
        ("abc '", "characters", "lower"),
        (["<s>", "<unk>", *"ABC "], "characters", "upper"),
        ("aBc", "characters", "as-is"),
        ("12", "characters", "as-is"),
        (["AA", "B"], "words", "as-is"),
    ],
)
def test_the_case_of_tokens_is_that_of_all_their_letters(
    symbols: Sequence[str], kind: Kind, case: str
) -> None:
    assert Tokens(("<blk>", *symbols), kind).case == case
