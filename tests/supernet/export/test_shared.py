"""Sizes that share one file of weights compute what separate files compute, also in sherpa-onnx."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from supernet.audio.features import fbank
from supernet.evaluation.alignment import align
from supernet.export import __main__ as command
from supernet.export.acceptance import BATCHES, noise
from supernet.export.onnx import Onnx
from supernet.export.onnx_graph import Session
from supernet.export.weight_file import ALIGNMENT, SMALLEST, share_weights
from supernet.recognition.decoding import greedy
from supernet.runs.cut_model import Cut
from supernet.runs.model_file import load
from supernet.runs.opening import own_selection
from supernet.runs.run import Run
from supernet.runtime.precision import PRECISIONS, ROUNDED, suffix
from tests.supernet.complaining import complaint
from tests.supernet.export.test_sherpa import recognize
from tests.supernet.talkative import TEXTS, files_of_recordings, recordings

onnx = pytest.importorskip("onnx", reason="needs the export extra")
pytestmark = pytest.mark.slow

SIZES = ("2", "3", "4")
SUFFIXES = [suffix(precision) for precision in PRECISIONS]


def shared(bundled: Run) -> Path:
    return bundled.export_folder("shared")


def test_a_size_computes_the_same_as_its_separate_file(bundled: Run, tmp_path: Path) -> None:
    model, choice = load(bundled.model_stem), own_selection(bundled).choice("3")
    for written in Onnx().write(Cut.of(model, choice, {}), tmp_path, ROUNDED):
        theirs = Session(written.file)
        ours = Session(shared(bundled) / written.file.name.replace("model", "3"))
        for lengths in BATCHES:
            (mine, counts), (other, expected) = (s(noise(lengths), lengths) for s in (ours, theirs))
            assert counts == expected
            for i, n in enumerate(counts):
                torch.testing.assert_close(mine[i, :n], other[i, :n], atol=1e-4, rtol=0)


def weights_of(file: Path) -> list[bytes]:
    """The large tensors of a file, whether inside or beside it."""
    tensors = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(file).graph.initializer]
    return [tensor.tobytes() for tensor in tensors if tensor.nbytes >= SMALLEST]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_sizes_are_as_large_as_the_largest(suffix: str, bundled: Run) -> None:
    """The files of weights; the graphs beside them do not grow with the width of the network."""
    largest = {*weights_of(shared(bundled) / f"4{suffix}.onnx")}
    expected = sum(-(-len(data) // ALIGNMENT) * ALIGNMENT for data in largest)
    size = (shared(bundled) / f"weights{suffix}.bin").stat().st_size
    assert expected - ALIGNMENT < size <= expected
    for name in SIZES:
        file = shared(bundled) / f"{name}{suffix}.onnx"
        assert {*weights_of(file)} <= largest
        inside = onnx.load(file, load_external_data=False).graph.initializer
        assert max(len(tensor.raw_data) for tensor in inside) < SMALLEST
    assert len(weights_of(shared(bundled) / f"2{suffix}.onnx")) < len(largest)


def test_the_folder_holds_what_programs_need_and_its_record(bundled: Run) -> None:
    graphs = {f"{size}{suffix}.onnx" for size in SIZES for suffix in SUFFIXES}
    names = {path.name for path in shared(bundled).iterdir()}
    weights = {f"weights{suffix}.bin" for suffix in SUFFIXES}
    assert names == graphs | weights | {"tokens.txt", "export.json", "README.md"}
    record = json.loads((shared(bundled) / "export.json").read_text())
    assert (record["format"], record["compared_on_test"]) == ("shared", False)
    assert record["model"]["provenance"]["run"] == "run"
    subnets = bundled.subnets()
    assert {size["budget"]: size["kept"] for size in record["sizes"]} == {
        name: list(subnets[name].kept) for name in SIZES
    }
    assert [file["file"] for file in record["sizes"][0]["files"]] == ["2.onnx", "2.int8.onnx", "2.int4.onnx"]
    macs = [size["macs"] for size in record["sizes"]]
    assert macs == sorted(macs)


def test_sherpa_recognizes_with_a_graph_and_the_weights_beside_it(bundled: Run, tmp_path: Path) -> None:
    pytest.importorskip("sherpa_onnx", reason="needs the export extra")
    wavs = files_of_recordings(tmp_path)
    texts = {size: sherpa_texts(shared(bundled), f"{size}.onnx", wavs) for size in ("2", "4")}
    assert texts["2"] != texts["4"]
    assert len({*texts["4"]}) == len(TEXTS), "each recording must be written another way"
    for size, found in texts.items():
        assert found == [eager_text(bundled, size, samples) for samples in recordings()]


def test_sherpa_runs_rounded_weights(bundled: Run, tmp_path: Path) -> None:
    """int4 needs an operator beyond the ONNX standard, which the onnxruntime inside has.

    Where an activation is halfway between two integers, the last bit of a feature decides, and changes a few
    letters of a network with random weights.
    """
    pytest.importorskip("sherpa_onnx", reason="needs the export extra")
    wavs = files_of_recordings(tmp_path)
    features, tokens = [fbank(samples) for samples in recordings()], load(bundled.model_stem).tokens
    for precision in ROUNDED:
        session = Session(shared(bundled) / f"4.{precision}.onnx")
        expected = [text for one in features for text in greedy(*session(one[None], [len(one)]), tokens)]
        found = sherpa_texts(shared(bundled), f"4.{precision}.onnx", wavs)
        assert differing(expected, found) < 0.3 < differing(expected, found[1:] + found[:1])


def differing(expected: Sequence[str], found: Sequence[str]) -> float:
    """The share of letters that differ."""
    pairs = [align("", *texts, "cer") for texts in zip(expected, found, strict=True)]
    return sum(pair.errors.total() for pair in pairs) / len("".join(expected))


def sherpa_texts(folder: Path, file: str, wavs: Sequence[Path]) -> list[str]:
    return [result["text"].strip() for result in recognize(folder, wavs, file=file)]


@torch.inference_mode()
def eager_text(bundled: Run, size: str, samples: torch.Tensor) -> str:
    model, features = load(bundled.model_stem), fbank(samples)
    kept = model.recognizer.table.kept(bundled.subnets()[size])
    log_probs = model.recognizer.log_probs(features[None], [len(features)], kept)
    return greedy(log_probs, [log_probs.size(1)], model.tokens)[0].strip()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "2"], "`--shared` must be given without `--size`, but is given with `--size 2`."),
        (
            ["--format", "torch"],
            "`--shared` must go with `--format` sherpa-onnx or executorch or coreml, but goes with torch",
        ),
        ([], "must not exist yet, but does. `--force` replaces it"),
    ],
)
def test_wrong_arguments_get_one_clear_line(
    arguments: list[str], words: str, bundled: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = complaint(command.main, [bundled.folder, "--shared", *arguments], capsys).splitlines()
    assert words in line


def graph_of(tensors: dict[str, Any], file: Path) -> Path:
    """A graph that returns its tensors."""
    names = list(tensors)
    nodes = [onnx.helper.make_node("Identity", [name], [f"{name}.out"]) for name in names]
    kinds = {name: onnx.helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in tensors.items()}
    outputs = [onnx.helper.make_tensor_value_info(f"{n}.out", kinds[n], tensors[n].shape) for n in names]
    initializers = [onnx.numpy_helper.from_array(value, name) for name, value in tensors.items()]
    graph = onnx.helper.make_graph(nodes, "graph", [], outputs, initializers)
    opset = onnx.helper.make_opsetid("", 18)
    file.write_bytes(onnx.helper.make_model(graph, ir_version=8, opset_imports=[opset]).SerializeToString())
    return file


def test_equal_weights_are_stored_once_whatever_their_names_and_shapes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(size=(16, 9)).astype(np.float32)
    own, rounded = rng.normal(size=300).astype(np.float32), rng.integers(-9, 9, 257).astype(np.int8)
    first: dict[str, Any] = {"a": common, "b": rounded, "small": np.array([1, 2], np.int64)}
    second: dict[str, Any] = {"c": common.reshape(9, 16), "d": own}
    files = [graph_of(first, tmp_path / "1.onnx"), graph_of(second, tmp_path / "2.onnx")]
    share_weights(files, tmp_path / "weights.bin")
    # 576 is a multiple of the alignment; the int8 weights are padded from 257 to 320 bytes.
    assert (tmp_path / "weights.bin").stat().st_size == 576 + 320 + 1200
    for file, tensors in zip(files, (first, second), strict=True):
        onnx.checker.check_model(file)
        found = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(file).graph.initializer}
        assert found.keys() == tensors.keys()
        assert all(np.array_equal(found[name], tensors[name]) for name in tensors)
    inside = onnx.load(files[0], load_external_data=False).graph.initializer
    assert [bool(tensor.raw_data) for tensor in inside] == [False, False, True]
