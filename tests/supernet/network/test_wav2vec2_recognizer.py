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
from supernet.network.supernet_ctc import SupernetCTC
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
    fields = {
        "model_family": "wav2vec2_asr",
        "model_arch": "base_10h",
        "model_config_overrides": changes,
    }
    fields |= {"tokenizer": "characters.model", **card}
    return encoders.write_card(folder / "card.yaml", "weights.pt", **fields), model


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
