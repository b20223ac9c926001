"""A training that starts from a fine-tuned recognizer of fairseq2, with its head."""

from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq2.models.wav2vec2.asr import Wav2Vec2AsrConfig, create_wav2vec2_asr_model
from fairseq2.nn import BatchLayout
from sentencepiece import SentencePieceTrainer

from supernet.encoder_family import PretrainedError
from supernet.errors import UserError
from supernet.network.supernet_ctc import SupernetCTC
from supernet.pretrained.places import is_checkpoint
from supernet.runs.checkpoint_model import checkpoint_tokens, fingerprint_of, open_checkpoint
from supernet.runs.model_file import load, save
from supernet.runs.pretrained import begin, tokens_of
from supernet.text.tokens import Tokens
from tests.supernet import encoders
from tests.supernet.encoders import config
from tests.supernet.pretrained.folders import speech
from tests.supernet.recognizing import log_probs

TEXTS = ["a bc", "cab a"]
LETTERS = Tokens.from_texts(TEXTS)


def write(folder: Path, **card: Any) -> tuple[Path, Any]:
    """Write a card with weights and a tokenizer of characters; returns the card and the model."""
    pieces = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(5 * TEXTS),
        model_writer=pieces,
        model_type="char",
        vocab_size=8,
        bos_id=0,
        pad_id=1,
        eos_id=2,
        unk_id=3,
        minloglevel=3,
    )
    (folder / "characters.model").write_bytes(pieces.getvalue())
    encoder = encoders.encoder_config("base")
    made = Wav2Vec2AsrConfig(encoder_config=encoder, target_vocab_size=8, use_masking=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create_wav2vec2_asr_model(made).eval()
    torch.save(model.state_dict(), folder / "weights.pt")
    changed = {name: value for name, value in asdict(encoder).items() if name != "norm_order"}
    changed["feature_extractor_layer_descs"] = [list(d) for d in changed["feature_extractor_layer_descs"]]
    changes = {"_set_": {"encoder_config": changed, "target_vocab_size": 8, "use_masking": False}}
    fields: dict[str, Any] = {
        "model_family": "wav2vec2_asr",
        "model_arch": "base_10h",
        "model_config_overrides": changes,
    }
    fields |= {"tokenizer": "characters.model", **card}
    weights = fields.pop("checkpoint", "weights.pt")
    return encoders.write_card(folder / "card.yaml", weights, **fields), model


@torch.no_grad()
def test_before_any_update_the_full_network_is_the_recognizer(tmp_path: Path) -> None:
    card, model = write(tmp_path)
    found = config(card).model
    tokens = tokens_of(found, LETTERS)
    assert tokens.kind == "pieces"
    assert sorted(tokens.symbols[4:]) == ["a", "b", "c", "▁"]
    net = SupernetCTC(config(card), len(tokens))
    begin(net, tokens)
    for samples in speech([5000, 3217]):
        (actual_SV,) = log_probs(net.eval(), net.table.full, [samples])
        seqs = samples[None]
        logits, _ = model(seqs, BatchLayout.of(seqs))
        torch.testing.assert_close(actual_SV, logits[0].log_softmax(-1), atol=1e-5, rtol=1e-5)


def test_without_a_tokenizer_the_head_is_replaced(tmp_path: Path) -> None:
    card, _ = write(tmp_path, tokenizer=None)
    found = config(card).model
    assert tokens_of(found, LETTERS) == LETTERS
    begin(SupernetCTC(config(card), len(LETTERS)), LETTERS)
    with pytest.raises(PretrainedError, match="which has no head with known tokens"):
        tokens_of(config(card, init_head="keep").model, LETTERS)


@torch.no_grad()
def test_a_card_is_a_checkpoint_with_its_head(tmp_path: Path) -> None:
    card, model = write(tmp_path)
    assert is_checkpoint(card)
    found = open_checkpoint(card)
    assert found.tokens == checkpoint_tokens(card)
    assert found.recognizer.sizes == (4,)
    for samples in speech([5000, 3217]):
        (actual_SV,) = log_probs(found.recognizer, found.recognizer.table.full, [samples])
        logits, _ = model(samples[None], BatchLayout.of(samples[None]))
        torch.testing.assert_close(actual_SV, logits[0].log_softmax(-1), atol=1e-5, rtol=1e-5)
    save(found, tmp_path / "model")
    again = load(tmp_path / "model").recognizer.state_dict()
    for name, x in found.recognizer.state_dict().items():
        assert torch.equal(again[name], x), name


def test_the_fingerprint_of_a_card_is_that_of_its_weights(tmp_path: Path) -> None:
    card, model = write(tmp_path)
    before = fingerprint_of(card)
    (tmp_path / "copied").mkdir()
    assert fingerprint_of(write(tmp_path / "copied")[0]) == before
    torch.save({name: 2 * x for name, x in model.state_dict().items()}, tmp_path / "weights.pt")
    assert fingerprint_of(card) != before


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"tokenizer": None},
            "must be the card of a recognizer, with `model_family` wav2vec2_asr and the file",
        ),
        ({"model_family": "wav2vec2", "model_config_overrides": {}, "model_arch": "base"}, "wav2vec2_asr"),
        ({"checkpoint": "nowhere.pt"}, "a checkpoint must be a wav2vec 2.0 encoder, but"),
        ({"tokenizer": "weights.pt"}, "must be a SentencePiece model"),
        ({"model_arch": "unknown"}, "a checkpoint must be a wav2vec 2.0 encoder, but"),
    ],
)
def test_unusable_cards_are_errors(fields: dict[str, Any], problem: str, tmp_path: Path) -> None:
    card, _ = write(tmp_path, **fields)
    with pytest.raises(UserError) as e:
        open_checkpoint(card)
    (line,) = str(e.value).splitlines()
    assert problem in line


def test_other_yaml_files_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model:\n  model_family: wav2vec2\n")
    assert not is_checkpoint(tmp_path / "config.yaml")
