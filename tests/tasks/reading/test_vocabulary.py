"""Tokens of a corpus: learned once from the training texts, or loaded from a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from supernet.task import TaskError
from supernet.text.tokens import Tokens
from tasks.commands.preview import preview_training
from tasks.manifest import ManifestOptions
from tasks.reading import vocabulary
from tasks.reading.vocabulary import TokenKind, make_tokens
from tests.tasks.folders import add_files, prepared, quiet, tone, write_folder, write_wav

TEXTS = ["the cat sat on the mat", "a cat and a dog", "the dog ran over the hill"] * 5


@pytest.mark.parametrize("choice", ["unigram", "bpe"])
@pytest.mark.parametrize("byte_fallback", [False, True])
def test_the_vocabulary_has_the_requested_size(
    choice: TokenKind, byte_fallback: bool, tmp_path: Path
) -> None:
    size = 20 + byte_fallback * 258
    tokens = make_tokens(choice, size, byte_fallback, TEXTS, tmp_path)
    assert len(tokens) == size
    assert tokens.kind == "pieces"
    assert (tokens.unknown("ü") == []) == byte_fallback


def test_pieces_are_learned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_tokens("unigram", None, False, TEXTS, tmp_path / "a")
    assert make_tokens("unigram", None, False, TEXTS, tmp_path / "b") == first, (
        "learning must be reproducible"
    )
    monkeypatch.delattr(vocabulary, "learn")
    assert make_tokens("unigram", None, False, TEXTS, tmp_path / "a") == first
    with pytest.raises(NameError):
        make_tokens("unigram", None, False, [*TEXTS, "more"], tmp_path / "a")


def test_long_texts_are_learned_from_too(tmp_path: Path) -> None:
    tokens = make_tokens("bpe", None, False, [*TEXTS, "a" * 5000 + "ü"], tmp_path)
    assert tokens.unknown("ü") == []


@pytest.mark.parametrize(
    ("choice", "size", "byte_fallback", "words"),
    [
        ("bpe", 500, False, r"`vocab_size` must be at most \d\d for the training texts .* is 500 instead"),
        ("unigram", 500, True, r"`vocab_size` must be at most 2[6-9]\d for the training texts"),
        ("bpe", 5, False, r"`vocab_size` must be at least 1\d .* is 5 instead.*every character is a token"),
        ("unigram", 200, True, r"`vocab_size` must be at least 2\d\d .* is 200 instead"),
    ],
)
def test_a_size_that_does_not_fit_the_texts_is_an_error(
    choice: TokenKind, size: int, byte_fallback: bool, words: str, tmp_path: Path
) -> None:
    with pytest.raises(TaskError, match=words) as error:
        make_tokens(choice, size, byte_fallback, TEXTS, tmp_path)
    assert "\n" not in str(error.value)
    limit = int(str(error.value).split(" for the")[0].split()[-1])
    assert f"`task.vocab_size={limit}`" in str(error.value)
    assert len(make_tokens(choice, limit, byte_fallback, TEXTS, tmp_path)) == limit


def test_tokens_can_be_loaded_from_a_file(tmp_path: Path) -> None:
    learned = make_tokens("bpe", 20, False, TEXTS, tmp_path)
    learned.save(tmp_path / "tokens.txt")
    for name in ("tokens.txt", "bpe.model"):
        assert make_tokens(tmp_path / name, None, False, ["other texts"], tmp_path) == learned


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.txt", None, "no such file"),
        ("a.txt", b"a 1", "line 1 must be"),
        ("a.txt", b"\xff", "must be text in UTF-8"),
        ("a.txt", "<blk> 0\na 1\n".encode("utf-16"), "must be text in UTF-8, but is UTF-16"),
        (
            "a.txt",
            b"<eps> 0\n<s> 1\nmat 2\n#0 3\n",
            "a list of another program, whose special symbols <s>, #0 are",
        ),
        (
            "a.txt",
            b"<blk> 0\n<unk> 1\n<space> 2\na 3\n",
            "a list of another program, whose special symbols <unk>, <space> are",
        ),
        ("a.txt", "<blk> 0\n<unk> 1\n▁the 2\n".encode(), "are pieces, which need their SentencePiece"),
        ("a.model", b"a", "must be a SentencePiece model"),
    ],
)
def test_an_invalid_file_of_tokens_is_an_error(
    name: str, content: bytes | None, words: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskError, match=rf"`tokens` must be a file of tokens, but .*{words}.*"):
        make_tokens(tmp_path / name, None, False, TEXTS, tmp_path)


def test_a_task_can_use_pieces(tmp_path: Path) -> None:
    task = prepared(write_folder(tmp_path / "tones"), tokens="bpe", byte_fallback=True)
    (batch,) = task.eval_batches("test", task.tokens())
    first = batch.targets_BL[0, : batch.num_targets[0]].tolist()
    assert task.tokens().decode(first) == batch.texts[0] == "a bc"
    assert len(first) < len("a bc")


def test_too_many_characters_outside_the_pieces_are_an_error(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones")
    Tokens.from_model(vocabulary.learn("unigram", None, False, ["a b"])).save(tmp_path / "tokens.txt")
    with pytest.raises(TaskError, match=r"40 of 40 .*not among the tokens: 'c'[);]"):
        prepared(folder, tokens=tmp_path / "tokens.txt")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tokens": "charcters"}, "must be characters, words, unigram, bpe, or the path"),
        ({"vocab_size": 50}, "`task.vocab_size` must go with `task.tokens` unigram or bpe"),
        ({"tokens": "words", "byte_fallback": True}, "but goes with 'words' instead"),
        ({"tokens": "bpe", "vocab_size": 1}, "greater than or equal to 2"),
    ],
)
def test_invalid_options_are_errors(wrong: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=words):
        prepared(tmp_path, **wrong)


def test_joiners_are_tokens(tmp_path: Path) -> None:
    folder, texts = write_folder(tmp_path / "tones"), ["क्\u200dष", "می\u200cخواهم"]
    files = [(write_wav(tmp_path / f"{i}.wav", tone(3.0)), text) for i, text in enumerate(texts)]
    add_files(folder, "train", files)
    task = prepared(folder, max_skipped=0.0)
    assert {"\u200c", "\u200d"} < set(task.tokens().symbols)
    assert not [one for one in task.skipped() if one.split == "train"]


def test_symbols_outside_the_tokens_are_one_kind_of_problem(tmp_path: Path) -> None:
    """A summary counts reasons by their part before the colon."""
    folder, texts = write_folder(tmp_path / "tones"), ["a", "b", "acdef", "X"]
    files = [(write_wav(tmp_path / f"{i}.wav", tone(1.0)), text) for i, text in enumerate(texts)]
    add_files(folder, "train", files)
    (tmp_path / "tokens.txt").write_text("<blk> 0\nX 1\n")
    options = ManifestOptions(path=folder, cache=tmp_path / "cache", tokens=tmp_path / "tokens.txt")
    reasons = [one.reason for one in preview_training(folder, options, quiet).skipped if one.split == "train"]
    assert reasons == [
        "not among the tokens: 'a'",
        "not among the tokens: 'b'",
        "not among the tokens: 'a', 'c', 'd', …",
    ]
