"""Cuts of layers as folders of `transformers` have the same log-probabilities and texts."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
import transformers

from supernet.errors import UserError
from supernet.export.__main__ import main as export
from supernet.export.acceptance import largest_difference
from supernet.export.eager import Eager
from supernet.export.huggingface import HuggingFace
from supernet.network.cutting import cut
from supernet.network.huggingface.library_model import library_model
from supernet.pretrained.reading import read_checkpoint
from supernet.pretrained.tokenizer_files import tokenizer_of
from supernet.pretrained.vocabulary import read_vocabulary
from supernet.runs.checkpoint_model import open_checkpoint
from supernet.runs.cut_model import Cut
from supernet.runs.model_file import Model
from supernet.text.tokens import BLANK, Tokens
from tests.supernet import tiny
from tests.supernet.pretrained.folders import TEXTS, VARIANTS, speech, their_log_probs, write
from tests.supernet.recognizing import log_probs
from tests.supernet.runs.test_checkpoint_starts import begun, resolved

KEPT = ["layers.0", "layers.2", "layers.3"]
LENGTHS = [5000, 1600, 3217]


def cut_of(model: Model, kept: list[str] = KEPT) -> Cut:
    table = model.recognizer.table
    subnet = table.subnet([unit.name in kept for unit in table.units])
    return Cut(Model(cut(model.recognizer, subnet), model.tokens), subnet, {"budget": "3"})


@pytest.fixture(scope="module", params=VARIANTS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Cut, Path]:
    """A cut of a checkpoint, and its folder."""
    folder = tmp_path_factory.mktemp(request.param)
    write(folder / "checkpoint", VARIANTS[request.param])
    found = cut_of(open_checkpoint(folder / "checkpoint"))
    HuggingFace().write(found, folder / "small")
    return found, folder / "small"


def test_transformers_computes_what_the_cut_computes(written: tuple[Cut, Path]) -> None:
    found, folder = written
    model = transformers.AutoModelForCTC.from_pretrained(folder).eval()
    described = json.loads((folder / "config.json").read_text())
    assert described.get("encoder_config", described)["num_hidden_layers"] == len(KEPT)
    recognizer = found.model.recognizer
    for samples in speech(LENGTHS):
        (expected_SV,) = log_probs(recognizer, recognizer.table.full, [samples])
        (actual_SV,) = their_log_probs(folder, model, [samples])
        assert expected_SV.std() > 0.1
        torch.testing.assert_close(actual_SV, expected_SV, atol=1e-5, rtol=1e-5)


def test_the_runtime_that_checks_a_folder_runs_it(written: tuple[Cut, Path]) -> None:
    found, folder = written
    recognizer = found.model.recognizer
    runtime = HuggingFace().open(folder / "model.safetensors")
    assert largest_difference(runtime, Eager(recognizer), recognizer.input) < 3e-5


def test_a_folder_is_read_again_as_the_same_network(written: tuple[Cut, Path]) -> None:
    found, folder = written
    again, numbers = open_checkpoint(folder), {"0": "0", "2": "1", "3": "2"}
    state = again.recognizer.state_dict()
    for name, x in found.model.recognizer.state_dict().items():
        if name.startswith("encoder.layers."):
            number, rest = name.removeprefix("encoder.layers.").split(".", 1)
            name = f"encoder.layers.{numbers[number]}.{rest}"
        if name.startswith(("frontend.", "encoder.", "heads.")):
            torch.testing.assert_close(state[name], x, atol=1e-6, rtol=1e-6)
    assert again.tokens.symbols == found.model.tokens.symbols
    assert again.tokens.kind == found.model.tokens.kind
    assert list(read_checkpoint(folder).order) == list(range(len(again.tokens)))


def test_its_tokenizer_finds_the_same_text(written: tuple[Cut, Path]) -> None:
    found, folder = written
    tokens = found.model.tokens
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rng = torch.Generator().manual_seed(0)
    ids = torch.randint(5, len(tokens), (30,), generator=rng).repeat_interleave(2).tolist()
    collapsed = [i for n, i in enumerate(ids) if n == 0 or ids[n - 1] != i]
    assert tokenizer.decode(ids).split() == tokens.decode(collapsed).split()
    assert tokenizer.decode([0] * 9) == ""


WORDS = Tokens((BLANK, "one", "two", "<unk>"), "words")
LETTERS = Tokens((BLANK, *" abc|"))


@pytest.mark.parametrize(("tokens", "text"), [(WORDS, "two one one two"), (LETTERS, "ab |c a")])
def test_words_and_letters_are_written_by_a_tokenizer(tokens: Tokens, text: str, tmp_path: Path) -> None:
    tokenizer_of(tokens).save_pretrained(tmp_path)
    found, order = read_vocabulary(tmp_path, len(tokens), 0)
    assert (found.symbols, found.kind, order) == (tokens.symbols, tokens.kind, [*range(len(tokens))])
    ids = [i for token in tokens.encode(text) for i in (token, 0)]
    assert transformers.AutoTokenizer.from_pretrained(tmp_path).decode(ids) == text


def pieces(kind: str) -> Tokens:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=model, vocab_size=24, model_type=kind, minloglevel=2,
        hard_vocab_limit=False,
    )  # fmt: skip
    return Tokens.from_model(model.getvalue())


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_pieces_are_split_as_by_sentencepiece(kind: str) -> None:
    tokens = pieces(kind)
    tokenizer = tokenizer_of(tokens)
    for text in [*TEXTS, "teat date", "a neon"]:
        assert tokenizer(text)["input_ids"] == tokens.encode(text)
        ids = [i for token in tokens.encode(text) for i in (token, 0)]
        assert tokenizer.decode(ids) == text


def test_pieces_go_with_every_encoder(tmp_path: Path) -> None:
    write(tmp_path / "mine", VARIANTS["wav2vec2-large"])
    tokens = pieces("bpe")
    net = begun(resolved(tmp_path / "mine", init_head="replace"), tokens).eval()
    HuggingFace().write(cut_of(Model(net, tokens)), tmp_path / "small")
    again = open_checkpoint(tmp_path / "small")
    assert (again.tokens.symbols, again.tokens.kind) == (tokens.symbols, "pieces")
    assert [again.tokens.encode(text) for text in TEXTS] == [tokens.encode(text) for text in TEXTS]


@torch.no_grad()
def test_a_size_with_a_head_of_its_own_takes_it_along(tmp_path: Path) -> None:
    """Every head starts as the checkpoint's, and a cut or a folder of a size has that of its size."""
    write(tmp_path / "mine", VARIANTS["wav2vec2-large"])
    whole = open_checkpoint(tmp_path / "mine")
    net = begun(resolved(tmp_path / "mine", heads="per-size"), whole.tokens).eval()
    assert set(net.heads) == {"2", "4"}
    theirs: Any = whole.recognizer.heads["shared"]
    heads: dict[str, Any] = dict(net.heads.items())
    for head in heads.values():
        assert torch.equal(head.weight, theirs.weight)
        assert torch.equal(head.bias, theirs.bias)
    for size, head in heads.items():
        head.bias.add_(torch.arange(len(head.bias)) * int(size))
    for kept in (net.table.first(2), net.table.full):
        (expected_SV,) = log_probs(net, kept, speech([4000]))
        small = cut_of(Model(net, whole.tokens), list(net.table.subnet(kept).kept))
        HuggingFace().write(small, tmp_path / str(sum(kept)))
        model = transformers.AutoModelForCTC.from_pretrained(tmp_path / str(sum(kept))).eval()
        (found_SV,) = their_log_probs(tmp_path / str(sum(kept)), model, speech([4000]))
        torch.testing.assert_close(found_SV, expected_SV, atol=1e-5, rtol=1e-5)
        assert torch.equal(model.lm_head.bias, heads[str(sum(kept))].bias)


def test_networks_that_the_library_does_not_have_are_refused() -> None:
    with pytest.raises(UserError, match=r"an encoder of `transformers`, but this one has 'built-in' instead"):
        library_model(tiny.recognizer(tiny.tiny_config()))


def test_modules_are_refused(tmp_path: Path) -> None:
    write(tmp_path, VARIANTS["wav2vec2-large"])
    with pytest.raises(UserError, match="layers as units, but this one has modules instead"):
        library_model(open_checkpoint(tmp_path, "module").recognizer)


def test_a_checkpoint_is_exported_for_transformers_and_compared_on_a_corpus(
    here: Path, tmp_path: Path
) -> None:
    write(tmp_path / "to-share", VARIANTS["wav2vec2-large"])
    kept = {"format": 1, "granularity": "layer", "kept": KEPT}
    (tmp_path / "three.json").write_text(json.dumps(kept))
    words = [str(tmp_path / "to-share"), "--task", "tones", "--selection", str(tmp_path / "three.json")]
    export([*words, "--format", "huggingface"])
    folder = here / "runs" / "to-share-tones" / "export" / "three-3-huggingface"
    record = json.loads((folder / "export.json").read_text())
    (check,) = record["files"]
    assert check["file"] == "model.safetensors"
    assert check["difference"] < 1e-5
    assert check["texts_that_differ"] == 0
    assert len(open_checkpoint(folder).recognizer.table) == 3
