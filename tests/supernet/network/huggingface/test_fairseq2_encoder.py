"""Encoders of fairseq2 become folders of `transformers` that compute the same, or are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from supernet.export.__main__ import main as export
from supernet.export.acceptance import largest_difference
from supernet.export.eager import Eager
from supernet.export.huggingface import HuggingFace
from supernet.network.cutting import cut
from supernet.network.huggingface.library_model import library_problem
from supernet.runs.checkpoint_model import open_checkpoint
from supernet.runs.cut_model import Cut
from supernet.runs.model_file import Model
from tests.supernet import encoders
from tests.supernet.network.test_wav2vec2_recognizer import write as write_card
from tests.supernet.pretrained.folders import speech, their_log_probs
from tests.supernet.recognizing import log_probs

KEPT = (True, False, True, True)


def small(folder: Path, kind: encoders.Kind, **changes: Any) -> Cut:
    """A cut of three of four layers with random weights."""
    whole = encoders.supernet(encoders.write(folder, kind, **changes)).float()
    subnet = whole.table.subnet(KEPT)
    return Cut(Model(cut(whole, subnet), encoders.TOKENS), subnet, {"budget": "3"})


@pytest.mark.parametrize("kind", ["base", "large_lv60k"])
@pytest.mark.parametrize("kernel", [8, 7])
def test_transformers_computes_what_the_cut_computes(
    kind: encoders.Kind, kernel: int, tmp_path: Path
) -> None:
    found = small(tmp_path / "theirs", kind, pos_conv_kernel_size=kernel)
    recognizer = found.model.recognizer
    (written,) = HuggingFace().write(found, tmp_path)
    assert largest_difference(HuggingFace().open(written.file), Eager(recognizer), recognizer.input) < 3e-5
    model = transformers.AutoModelForCTC.from_pretrained(tmp_path).eval()
    again = open_checkpoint(tmp_path).recognizer
    for samples in speech([5000, 1600, 3217]):
        (expected_SV,) = log_probs(recognizer, recognizer.table.full, [samples])
        assert expected_SV.std() > 0.05
        for actual_SV in (
            *their_log_probs(tmp_path, model, [samples]),
            *log_probs(again, again.table.full, [samples]),
        ):
            torch.testing.assert_close(actual_SV, expected_SV, atol=1e-5, rtol=1e-5)


def test_a_card_goes_out_with_its_tokens(tmp_path: Path) -> None:
    card, _ = write_card(tmp_path)
    (tmp_path / "three.json").write_text(
        json.dumps(
            {"format": 1, "granularity": "layer", "kept": [f"layers.{i}" for i in range(4) if KEPT[i]]}
        )
    )
    words = ["--selection", str(tmp_path / "three.json"), "--unchecked", "--out", str(tmp_path / "out")]
    export([str(card), *words, "--format", "huggingface"])
    whole, found = open_checkpoint(card), open_checkpoint(tmp_path / "out")
    assert found.tokens.symbols[1:] == whole.tokens.symbols[1:]
    for samples in speech([4000]):
        (expected_SV,) = log_probs(whole.recognizer, KEPT, [samples])
        (actual_SV,) = log_probs(found.recognizer, found.recognizer.table.full, [samples])
        torch.testing.assert_close(actual_SV, expected_SV, atol=1e-5, rtol=1e-5)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = [i for token in whole.tokens.encode("cab a") for i in (token, 0)]
    assert tokenizer.decode(ids) == "cab a"


@pytest.mark.parametrize(
    ("kind", "changes", "problem"),
    [
        ("base", {"layer_norm_features": False}, "but `layer_norm_features` is false instead"),
        ("large_lv60k", {"layer_norm_features": True}, "but `layer_norm_features` is true instead"),
        (
            "base",
            {"model_dim": 12},
            "a projection from its features to its layers, but both have dimension 12",
        ),
    ],
)
def test_architectures_that_the_library_does_not_have_are_refused(
    kind: encoders.Kind, changes: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    found = library_problem(encoders.supernet(encoders.write(tmp_path, kind, **changes)))
    assert found is not None
    assert problem in found
