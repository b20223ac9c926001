"""sherpa-onnx, run on WAV files, recognizes the same as greedy decoding of the cut model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from sentencepiece import SentencePieceProcessor
from torch import Tensor

from supernet.audio.features import fbank
from supernet.audio.specification import SAMPLE_RATE
from supernet.export.onnx import Onnx, save_tokens
from supernet.recognition.decoding import greedy
from supernet.runs.cut_model import Cut
from supernet.text.tokens import BLANK, Kind, Tokens
from tasks.reading.vocabulary import learn
from tests.supernet.export.test_graph import small_cut
from tests.supernet.processes import run
from tests.tasks.folders import write_wav

pytest.importorskip("sherpa_onnx", reason="needs the export extra")
onnx = pytest.importorskip("onnx", reason="needs the export extra")

TOKENS: dict[Kind, Tokens] = {
    "characters": Tokens((BLANK, " ", "a", "b", "é", "'")),
    # sherpa-onnx treats the last two specially
    "words": Tokens((BLANK, "one", "two", "three", "SIL", "</s>"), "words"),
    "pieces": Tokens.from_model(learn("bpe", 6, False, 5 * ["ab a éb ab"])),
}


@pytest.fixture(scope="module")
def wavs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files with half a second to two seconds of sweeping noise, and one shorter than a stream frame."""
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
    """Log-probabilities (1, S, V) of the cut model in PyTorch."""
    features, model = features_of(wav), cut.model.recognizer
    return model.log_probs(features[None], [len(features)], model.table.full)


def expected_text(cut: Cut, wav: Path) -> str:
    log_probs_1SV = log_probs(cut, wav)
    return greedy(log_probs_1SV, [log_probs_1SV.size(1)], cut.model.tokens)[0]


def talkative(kind: Kind, wavs: list[Path]) -> Cut:
    """A cut of a random network in which all tokens are about equally likely, so that transcripts differ."""
    cut = small_cut(tokens=TOKENS[kind])
    mean_V = torch.cat([log_probs(cut, wav)[0] for wav in wavs]).mean(0)
    head = cut.model.recognizer.heads["shared"]
    assert isinstance(head, torch.nn.Linear)
    head.bias.data -= mean_V
    return cut


def recognize(
    folder: Path,
    wavs: Sequence[Path],
    kind: str = "from_zipformer_ctc",
    file: str = "model.onnx",
    **more: Any,
) -> list[Any]:
    options = kind, json.dumps(more)
    out, _ = run("tests.supernet.export.recognize", folder, file, *options, *wavs, cwd=folder)
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def folder(wavs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported network with characters; networks with other kinds of tokens have the same weights."""
    folder = tmp_path_factory.mktemp("exported")
    Onnx().write(talkative("characters", wavs), folder)
    return folder


@pytest.mark.parametrize("kind", ["characters", "words", "pieces"])
def test_sherpa_recognizes_the_same_as_greedy_decoding(kind: Kind, wavs: list[Path], folder: Path) -> None:
    cut = talkative(kind, wavs)
    save_tokens(cut.model.tokens, folder)
    texts = [expected_text(cut, wav) for wav in wavs]
    assert len({*texts}) == len(texts), "transcripts must differ"
    found = recognize(folder, wavs)
    assert [result["text"].strip() for result in found] == [text.strip() for text in texts]
    if kind == "characters":
        assert ["".join(result["tokens"]) for result in found] == texts


def test_pieces_are_exported_with_their_model_and_vocabulary(tmp_path: Path) -> None:
    save_tokens(TOKENS["pieces"], tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bpe.model", "bpe.vocab", "tokens.txt"]
    lines = (tmp_path / "bpe.vocab").read_text(encoding="utf-8").splitlines()
    processor = SentencePieceProcessor(model_file=str(tmp_path / "bpe.model"))
    pieces = [processor.id_to_piece(i) for i in range(processor.vocab_size())]
    assert [line.split("\t")[0] for line in lines] == pieces
    assert all(float(line.split("\t")[1]) <= 0 for line in lines)


def write_constant(path: list[int], num_tokens: int, file: Path) -> None:
    """Write a graph that outputs ``path`` for any input."""
    log_probs = np.full((1, len(path), num_tokens), -9.0, np.float32)
    log_probs[0, range(len(path)), path] = 0.0
    constants = {"log_probs": log_probs, "log_probs_len": np.array([len(path)])}
    nodes = [
        onnx.helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(value))
        for name, value in constants.items()
    ]
    inputs = [("x", onnx.TensorProto.FLOAT, ["N", "T", 80]), ("x_lens", onnx.TensorProto.INT64, ["N"])]
    outputs = [
        ("log_probs", onnx.TensorProto.FLOAT, [1, len(path), num_tokens]),
        ("log_probs_len", onnx.TensorProto.INT64, [1]),
    ]
    ends = [[onnx.helper.make_tensor_value_info(*end) for end in side] for side in (inputs, outputs)]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "constant", *ends),
        ir_version=8,
        opset_imports=[onnx.helper.make_opsetid("", 18)],
    )
    onnx.helper.set_model_props(model, {"model_type": "zipformer2_ctc"})
    file.write_bytes(model.SerializeToString())


def test_sherpa_joins_bytes_into_characters(tmp_path: Path, wavs: list[Path]) -> None:
    tokens = Tokens.from_model(learn("unigram", None, True, 5 * ["ab a ab", "ba"]))
    ids = tokens.encode("ab ü€ 猫a")
    assert sum(tokens.symbols[i].startswith("<0x") for i in ids) == 2 + 3 + 3
    write_constant([0, *(frame for i in ids for frame in (i, 0))], len(tokens), tmp_path / "model.onnx")
    save_tokens(tokens, tmp_path)
    (result,) = recognize(tmp_path, wavs[:1])
    assert result["text"].strip() == "ab ü€ 猫a"
