"""sherpa-onnx itself, on wav files, writes what greedy decoding of the cut model writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from torch import Tensor

from supernet.cut import Cut
from supernet.decoding import greedy
from supernet.export.onnx import Onnx, sherpa_tokens
from supernet.features import SAMPLE_RATE, fbank
from supernet.tokens import BLANK, Kind, Tokens
from tests.supernet.export.test_graph import small_cut
from tests.supernet.processes import run
from tests.tasks.folders import write_wav

pytest.importorskip("sherpa_onnx", reason="needs the export extra")

SYMBOLS: dict[Kind, tuple[str, ...]] = {
    "characters": (BLANK, " ", "a", "b", "é", "'"),
    "words": (BLANK, "one", "two", "three", "SIL", "</s>"),  # sherpa-onnx treats the last two its own way
}


@pytest.fixture(scope="module")
def wavs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Half a second to two seconds of sweeping noise, and less than a frame of it."""
    folder, rng = tmp_path_factory.mktemp("wavs"), torch.Generator().manual_seed(0)
    files = []
    for i, seconds in enumerate((0.5, 1.1, 2.0, 0.03)):
        loud = torch.linspace(0, 12, round(seconds * SAMPLE_RATE)).sin() ** 2
        noise = torch.randn(len(loud), generator=rng).cumsum(0) * loud
        files.append(write_wav(folder / f"{i}.wav", (noise / noise.abs().max() / 2).numpy()))
    return files


def features_of(wav: Path) -> Tensor:
    samples, _ = soundfile.read(wav, dtype="float32")
    return fbank(torch.from_numpy(samples))


@torch.inference_mode()
def log_probs(cut: Cut, wav: Path) -> Tensor:
    """Of the cut model in PyTorch, (1, S, V)."""
    features, model = features_of(wav), cut.model.recogniser
    return model.log_probs(features[None], [len(features)], model.table.full)


def expected_text(cut: Cut, wav: Path) -> str:
    log_probs_1SV = log_probs(cut, wav)
    return greedy(log_probs_1SV, [log_probs_1SV.size(1)], cut.model.tokens)[0]


def talkative(kind: Kind, wavs: list[Path]) -> Cut:
    """A net of random weights whose tokens are all about as likely, so that every file is written another
    way.
    """
    cut = small_cut(tokens=Tokens(SYMBOLS[kind], kind))
    mean_V = torch.cat([log_probs(cut, wav)[0] for wav in wavs]).mean(0)
    head = cut.model.recogniser.heads["shared"]
    assert isinstance(head, torch.nn.Linear)
    head.bias.data -= mean_V
    return cut


def recognise(folder: Path, wavs: list[Path]) -> list[Any]:
    out, _ = run("tests.supernet.export.recognise", folder, "model.onnx", *wavs, cwd=folder)
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def folder(wavs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The net with characters, exported; with words it is the same one."""
    folder = tmp_path_factory.mktemp("exported")
    Onnx().write(talkative("characters", wavs), folder, int8=False)
    return folder


@pytest.mark.parametrize("kind", ["characters", "words"])
def test_sherpa_writes_what_greedy_decoding_writes(kind: Kind, wavs: list[Path], folder: Path) -> None:
    cut = talkative(kind, wavs)
    sherpa_tokens(cut.model.tokens).save(folder / "tokens.txt")
    texts = [expected_text(cut, wav) for wav in wavs]
    assert len({*texts}) == len(texts), "each file must be written another way"
    found = recognise(folder, wavs)
    assert [result["text"].strip() for result in found] == [text.strip() for text in texts]
    if kind == "characters":
        assert ["".join(result["tokens"]) for result in found] == texts
