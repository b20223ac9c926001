"""Sizes that keep some heads and chunks are as narrow as their cut models, and share the weights of these."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from supernet.export.acceptance import TOLERANCE, largest_difference
from supernet.export.eager import Eager
from supernet.export.onnx_graph import Session
from supernet.export.shared import Shared
from supernet.export.weight_file import ALIGNMENT, SMALLEST
from supernet.network.cutting import cut
from supernet.network.supernet_ctc import SupernetCTC, num_parameters
from supernet.runs.cut_model import Cut
from supernet.runs.model_file import Model
from supernet.runtime.precision import FULL, PRECISIONS, ROUNDED, Precision, suffix
from supernet.text.tokens import BLANK, Tokens
from tests.supernet.tiny import recognizer, tiny_config

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the export extra")
onnx = pytest.importorskip("onnx", reason="needs the export extra")
pytestmark = pytest.mark.slow

NET = {"num_layers": 1, "dim": 24, "num_heads": 3, "ffn_dim": 96, "ffn_chunks": 3}
"""A chunk has 32 inner features, which share a scale in int4; a head has 8."""
SIZES = {
    "9": ("111", "111", "1", "110"),  # the last chunk is of no size
    "5": ("101", "101", "0", "100"),  # parts that are not adjacent
}
"""The chunks, heads, convolution, and chunks of each size."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, SupernetCTC]]:
    """The folder of all sizes, and the cut models."""
    net = recognizer(tiny_config("component", model=NET)).float()
    tokens, cuts = Tokens((BLANK, " ", "a", "b", "c", "d")), list[Cut]()
    for size, marks in SIZES.items():
        subnet = net.table.subnet([mark == "1" for mark in "".join(marks)])
        cuts.append(Cut(Model(cut(net, subnet), tokens), subnet, {"budget": size}))
    folder = tmp_path_factory.mktemp("shared")
    Shared(Model(net, tokens), cuts).write(folder, ROUNDED)
    return folder, {one.provenance["budget"]: one.model.recognizer for one in cuts}


@pytest.mark.parametrize("size", SIZES)
def test_each_size_computes_what_its_cut_model_computes(
    exported: tuple[Path, dict[str, SupernetCTC]], size: str
) -> None:
    folder, cuts = exported
    small = Eager(cuts[size])
    assert largest_difference(Session(folder / f"{size}.onnx"), small) < TOLERANCE
    for precision in ROUNDED:
        rounded = Session(folder / f"{size}.{precision}.onnx")
        assert TOLERANCE < largest_difference(rounded, small) < 3


def optimized(file: Path, folder: Path) -> Any:
    """The graph that onnxruntime runs."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
    return onnx.load(folder / "optimized.onnx", load_external_data=False).graph


@pytest.mark.parametrize("precision", PRECISIONS)
def test_only_what_a_size_keeps_is_computed(
    exported: tuple[Path, dict[str, SupernetCTC]], precision: Precision, tmp_path: Path
) -> None:
    graph = optimized(exported[0] / f"5{suffix(precision)}.onnx", tmp_path)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    assert not {"Concat", "Transpose"} & {
        node.op_type for node in graph.node if {*node.input} <= {*shapes}
    }, "weights are put together on opening, not in each call"
    found = Counter[tuple[int, ...]]()
    for node in graph.node:
        if node.op_type in ("MatMul", "MatMulInteger", "MatMulNBits", "Gemm") and node.input[1] in shapes:
            shape = shapes[node.input[1]]
            found[shape[::-1] if node.op_type == "Gemm" else shape] += 1
    chunks, heads, chunk = 64, 16, 32  # inner features of two chunks, two heads, and a chunk
    expected = [(24, chunks), (chunks, 24), *4 * [(24, heads)], (heads, 24), (24, chunk), (chunk, 24)]
    frontend, head = (38, 24), (24, 6)
    for rows, columns in (frontend, *expected, head):
        shape = (columns, -(-rows // 32), 16) if precision == "int4" else (rows, columns)
        found[shape] -= 1
    assert not any(found.values())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_all_sizes_are_as_large_as_the_largest(
    exported: tuple[Path, dict[str, SupernetCTC]], precision: Precision
) -> None:
    """All parts of the smaller are of the larger. In int4, heads share scales: the output projection of an
    attention is stored for each size.
    """
    folder, cuts = exported
    graph = onnx.load(folder / f"9{suffix(precision)}.onnx").graph
    largest = {t.raw_data for t in graph.initializer if len(t.raw_data) >= SMALLEST}
    expected = sum(-(-len(data) // ALIGNMENT) * ALIGNMENT for data in largest)
    size = (folder / f"weights{suffix(precision)}.bin").stat().st_size
    apart = 24 * 16 if precision == "int4" else 0  # 24 outputs, each with a block of 32 weights of 4 bits
    assert expected - ALIGNMENT < size - apart <= expected
    if precision == FULL:
        matrices = [p for name, p in cuts["9"].named_parameters() if p.ndim == 2]
        assert sum(p.numel() * 4 for p in matrices) < size < 1.1 * num_parameters(cuts["9"]) * 4
