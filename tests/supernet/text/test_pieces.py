"""A run with pieces as tokens, trained with added noise: its files, and the models cut from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from supernet import cut
from supernet.errors import ArgumentError
from supernet.recognizer import Recognizer
from supernet.runs.model_file import load
from supernet.runs.run import Run, RunError
from supernet.text.tokens import MODEL_FILE, Tokens
from tests.conftest import train
from tests.tasks.folders import tone, write_wav


@pytest.fixture(scope="module")
def run_with_pieces(place: Path) -> Run:
    noise = 0.05 * np.random.default_rng(0).standard_normal(20_000)
    write_wav(place / "noise" / "noise.wav", noise)
    options = ("--set", "task={tokens: bpe, byte_fallback: true}", "--set", "task.noise.folder=noise")
    return train(place, "pieces", *options)[0]


def test_a_run_saves_its_pieces(run_with_pieces: Run) -> None:
    tokens = Tokens.load(run_with_pieces.tokens_file)
    assert tokens.kind == "pieces"
    assert tokens.decode(tokens.encode("a bc ü")) == "a bc ü"
    assert load(run_with_pieces.model_stem).tokens == tokens
    assert run_with_pieces.results()["sizes"]["2"]["test"]["words"] == 16


def test_a_model_without_its_pieces_is_an_error(run_with_pieces: Run, tmp_path: Path) -> None:
    for name in ("model.json", "model.safetensors"):
        shutil.copy(run_with_pieces.folder / name, tmp_path)
    with pytest.raises(RunError, match=f"its tokens are pieces, but '{MODEL_FILE}' is not in its folder"):
        load(tmp_path / "model")


def test_a_cut_model_has_its_pieces(
    run_with_pieces: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut.main([str(run_with_pieces.folder), "--size", "2", "--out", str(tmp_path / "small")])
    assert "2 layers" in capsys.readouterr().out
    small = Recognizer.load(tmp_path / "small")
    whole = Recognizer.load(run_with_pieces.folder).use(2)
    heard = tone(1.0, 260), 16_000
    assert small.transcribe(*heard) == whole.transcribe(*heard)


def test_a_run_can_be_continued_only_with_its_own_tokens(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for _ in range(2):
        run.keep_tokens(Tokens(("<blk>", "a", "b")))
    with pytest.raises(ArgumentError, match="must be continued with the tokens it was started with"):
        run.keep_tokens(Tokens(("<blk>", "b", "a")))
    assert Tokens.load(run.tokens_file).symbols == ("<blk>", "a", "b")
