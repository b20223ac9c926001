"""Exports of fine-tuned checkpoints, whole and cut, compute what they compute, and sherpa-onnx runs them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from supernet.audio.specification import SAMPLE_RATE
from supernet.export.__main__ import main as export
from supernet.export.acceptance import largest_difference, noise
from supernet.export.coreml import SharedCoreML
from supernet.export.eager import Eager
from supernet.export.executorch import ExecuTorch, SharedExecuTorch
from supernet.export.graph import Graph
from supernet.export.kinds import kind_of
from supernet.export.onnx import Onnx
from supernet.latency.worker import OPENERS
from supernet.network.cutting import cut
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.checkpoint_model import open_checkpoint
from supernet.runs.cut_model import Cut
from supernet.runs.model_file import Model
from tests.supernet import encoders
from tests.supernet.export.test_sherpa import recognize
from tests.supernet.pretrained.folders import VARIANTS, write
from tests.supernet.recognizing import log_probs
from tests.tasks.folders import write_wav

KEPT = ["layers.0", "layers.2", "layers.3"]
LENGTHS = ([1], [399], [720, 719, 560], [4000, 8000], [5000, 1, 3217])


def cut_of(folder: Path) -> Cut:
    model = open_checkpoint(folder)
    subnet = model.recognizer.table.subnet([unit.name in KEPT for unit in model.recognizer.table.units])
    return Cut(Model(cut(model.recognizer, subnet), model.tokens), subnet, {"random": "weights"})


class InPyTorch:
    """The graph before it is exported."""

    def __init__(self, recognizer: SupernetCTC) -> None:
        self._graph, self._kind = Graph(recognizer), kind_of(recognizer)
        self._metadata = self._kind.metadata(recognizer)

    @torch.inference_mode()
    def __call__(self, features_BTF: Tensor, num_frames: Sequence[int]) -> tuple[Tensor, list[int]]:
        x, lengths = self._kind.read(features_BTF, num_frames, self._metadata)
        log_probs_BSV, lengths_B = self._graph(x, torch.tensor(lengths))
        return log_probs_BSV, lengths_B.tolist()


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_graph_is_the_checkpoint_in_padded_batches_and_alone(variant: str, tmp_path: Path) -> None:
    write(tmp_path, VARIANTS[variant])
    check_graph(open_checkpoint(tmp_path).recognizer)


@pytest.mark.parametrize("kind", ["base", "large_lv60k"])
def test_the_graph_of_an_encoder_of_fairseq2_is_the_encoder(kind: encoders.Kind, tmp_path: Path) -> None:
    recognizer = encoders.supernet(encoders.write(tmp_path, kind)).float()
    recognizer.log_probs(noise([4000], input=recognizer.input), [4000], recognizer.table.full)
    check_graph(recognizer)


def check_graph(recognizer: SupernetCTC) -> None:
    """Compare the outputs in padded batches and alone."""
    graph, reference = InPyTorch(recognizer), Eager(recognizer)
    for lengths in LENGTHS:
        samples_BT1 = noise(lengths, input=recognizer.input)
        (actual_BSV, counts), (expected_BSV, numbers) = (
            runtime(samples_BT1, lengths) for runtime in (graph, reference)
        )
        assert counts == numbers
        for actual_SV, expected_SV, n in zip(actual_BSV, expected_BSV, counts, strict=True):
            torch.testing.assert_close(actual_SV[:n], expected_SV[:n], atol=1e-5, rtol=0)


@pytest.fixture(scope="module", params=["wavlm-large", "parakeet", "w2v-bert"])
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Cut, Path, list[Path]]:
    """A cut of a checkpoint, whose tokens are all about as likely, its export, and recordings."""
    pytest.importorskip("onnxruntime", reason="needs the export extra")
    folder = tmp_path_factory.mktemp(request.param)
    write(folder / "checkpoint", VARIANTS[request.param])
    found, wavs = cut_of(folder / "checkpoint"), list[Path]()
    rng = np.random.default_rng(0)
    for i, seconds in enumerate((0.5, 1.1, 2.0)):
        loud = np.sin(np.linspace(0, 12, round(seconds * SAMPLE_RATE))) ** 2
        samples = rng.standard_normal(len(loud)).cumsum() * loud
        wavs.append(write_wav(folder / f"{i}.wav", samples / abs(samples).max() / 2))
    head: Any = found.model.recognizer.heads["shared"]
    head.bias.data -= torch.cat([of_wav(found, wav) for wav in wavs]).mean(0)
    written = Onnx().write(found, folder, ["int8"])
    assert [w.exact for w in written] == [True, False]
    return found, folder, wavs


def of_wav(found: Cut, wav: Path) -> Tensor:
    """The log-probabilities (S, V) of a recording in PyTorch."""
    samples, _ = soundfile.read(wav, dtype="float32")
    recognizer = found.model.recognizer
    return log_probs(recognizer, recognizer.table.full, [torch.from_numpy(samples)])[0]


@pytest.mark.slow
def test_the_onnx_file_is_the_cut_checkpoint_and_int8_is_close(
    exported: tuple[Cut, Path, list[Path]],
) -> None:
    found, folder, _ = exported
    reference, input = Eager(found.model.recognizer), found.model.recognizer.input
    exact, rounded = (Onnx().open(folder / f"model{kind}.onnx") for kind in ("", ".int8"))
    assert largest_difference(exact, reference, input) < 1e-5
    assert 1e-5 < largest_difference(rounded, reference, input) < 0.5


@pytest.mark.slow
def test_sherpa_finds_the_tokens_of_greedy_decoding(exported: tuple[Cut, Path, list[Path]]) -> None:
    pytest.importorskip("sherpa_onnx", reason="needs the export extra")
    found, folder, wavs = exported
    recognizer, symbols = found.model.recognizer, found.model.tokens.symbols
    kind, expected = kind_of(recognizer), list[list[str]]()
    for wav in wavs:
        log_probs_SV, n = of_wav(found, wav), soundfile.info(wav).frames
        # The number of outputs, which this kind of encoders rounds up, is rounded down there.
        n = n // 1280 if recognizer.input.name == "samples-80ms" else len(log_probs_SV)
        (ids,) = recognizer.head_of(3).decode(log_probs_SV[None], [n])
        # Ends of sentences are left out there.
        expected.append([symbols[i].replace("▁", " ") for i in ids if symbols[i] != "</s>"])
    more: dict[str, Any] = kind.arguments(recognizer)
    results = recognize(folder, wavs, kind.constructor, **more)
    assert [[token for token in result["tokens"] if token != "</s>"] for result in results] == expected
    assert all(expected)


@pytest.mark.slow
def test_onnx_asr_reads_the_kind_of_nemo(exported: tuple[Cut, Path, list[Path]], tmp_path: Path) -> None:
    onnx_asr = pytest.importorskip("onnx_asr", reason="needs the package onnx-asr")
    found, folder, wavs = exported
    recognizer, symbols = found.model.recognizer, found.model.tokens.symbols
    if recognizer.input.name != "samples-80ms":
        return  # it has no kind that takes samples
    shutil.copy(folder / "model.onnx", tmp_path)
    shutil.copy(folder / "tokens.txt", tmp_path / "vocab.txt")
    theirs = onnx_asr.load_model("nemo-conformer-ctc", tmp_path)
    for wav in wavs:
        log_probs_SV = of_wav(found, wav)
        (ids,) = recognizer.head_of(3).decode(log_probs_SV[None], [len(log_probs_SV)])
        expected = [symbols[i].replace("▁", " ") for i in ids]
        assert theirs.with_timestamps().recognize(wav).tokens == expected != []


@pytest.mark.slow
def test_its_latency_is_that_of_noise_of_the_right_kind(exported: tuple[Cut, Path, list[Path]]) -> None:
    found, folder, _ = exported
    log_probs_SV = OPENERS["onnx"]()(folder / "model.onnx", [], 1, "cpu")(1.0)
    frames = round(1.0 / found.model.recognizer.input.stream_seconds)
    assert abs(len(log_probs_SV) - frames) <= 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "variant", "sizes"),
    [
        (SharedExecuTorch, "hubert-base", (1, 2)),
        (SharedExecuTorch, "parakeet", (1,)),
        (SharedCoreML, "parakeet", (1,)),
    ],
)
def test_sizes_of_a_checkpoint_share_a_program(
    kind: type[SharedExecuTorch | SharedCoreML], variant: str, sizes: Sequence[int], tmp_path: Path
) -> None:
    package = {SharedExecuTorch: "executorch", SharedCoreML: "coremltools"}[kind]
    pytest.importorskip(package, reason="needs the extra of its format")
    write(tmp_path / "mine", VARIANTS[variant])
    model, cuts = open_checkpoint(tmp_path / "mine"), list[Cut]()
    for size in sizes:
        subnet = model.recognizer.table.subnet(model.recognizer.table.first(size))
        cuts.append(Cut(Model(cut(model.recognizer, subnet), model.tokens), subnet, {"budget": str(size)}))
    bundle = kind(model, cuts)
    written = bundle.write(tmp_path)
    for cut_, (file,) in zip(cuts, written, strict=True):
        recognizer, opened = cut_.model.recognizer, bundle.open(file.file, cut_)
        assert largest_difference(opened, Eager(recognizer), recognizer.input) < 1e-5


@pytest.mark.slow
def test_an_encoder_of_fairseq2_is_an_executorch_program(tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="needs the executorch extra")
    whole = encoders.supernet(encoders.write(tmp_path / "theirs", "large_lv60k")).float()
    subnet = whole.table.subnet(whole.table.first(1))
    found = Cut(Model(cut(whole, subnet), encoders.TOKENS), subnet, {"budget": "1"})
    (written,) = ExecuTorch().write(found, tmp_path)
    reference = Eager(found.model.recognizer)
    assert largest_difference(ExecuTorch().open(written.file), reference, whole.input) < 1e-5


@pytest.fixture
def checkpoint(here: Path) -> Path:
    if not (here / "raw").is_dir():
        write(here / "raw", VARIANTS["hubert-base"])
        kept = {"format": 1, "granularity": "layer", "kept": KEPT}
        (here / "three.json").write_text(json.dumps(kept))
    return here / "raw"


def test_a_checkpoint_is_exported_cut_and_compared_on_a_corpus(checkpoint: Path, tmp_path: Path) -> None:
    words = ["--selection", "three.json", "--format", "torch", "--out", str(tmp_path / "small")]
    export(["raw", "--task", "tones", *words])
    record = json.loads((tmp_path / "small" / "export.json").read_text())
    assert record["model"]["kept"] == KEPT
    assert record["compared_on_test"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "`--task` must name the corpus to compare the transcripts of 'raw' on"),
        (["--unchecked"], "`--out` must name a folder for the export of 'raw'"),
        (
            ["--unchecked", "--out", "never"],
            "`--format` sherpa-onnx must have a network that normalizes its samples",
        ),
    ],
)
def test_unusable_exports_are_refused_in_a_line(
    checkpoint: Path, words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as e:
        export(["raw", *words])
    assert e.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert problem in line
    assert not Path("never").exists()
