"""The exportable graph and the files made from it equal the cut model, for networks of all kinds."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from supernet.audio.features import LOG_MEL
from supernet.errors import ArgumentError
from supernet.export.acceptance import noise
from supernet.export.executorch import ExecuTorch, SharedExecuTorch
from supernet.export.formats import Runtime
from supernet.export.graph import Graph
from supernet.export.one_utterance import MAX_SECONDS, WIDTHS, name_of
from supernet.export.onnx import Onnx
from supernet.export.onnx_graph import BLOCK, quantize, save, trace
from supernet.network.cutting import cut
from supernet.runs.cut_model import Cut
from supernet.runs.model_file import Model
from supernet.text.tokens import BLANK, Tokens
from supernet.units import LayerType
from tests.supernet.tiny import recognizer, tiny_config

pytestmark = pytest.mark.slow

LENGTHS = ([1], [6], [7], [8], [50], [33, 33], [61, 7, 1, 30])
TOKENS = Tokens((BLANK, " ", "a", "b", "c", "d"))


def small_cut(
    granularity: str = "layer",
    layer_type: LayerType = "conformer",
    tokens: Tokens = TOKENS,
    **model: Any,
) -> Cut:
    """A cut of a random network in float32: two layers, or units of every kind from different layers."""
    net = recognizer(tiny_config(granularity, layer_type, model=model)).float()
    every = {"layer": 2, "module": 5, "component": 3}[granularity]
    subnet = net.table.subnet([i % every == 0 for i in range(len(net.table))])
    return Cut(Model(cut(net, subnet), tokens), subnet, {"random": "weights", "budget": str(subnet.size)})


def largest_difference(cut_: Cut, runtime: Runtime) -> float:
    """The largest difference in valid frames; asserts that their numbers agree."""
    model, found = cut_.model.recognizer, list[Tensor]()
    for lengths in LENGTHS:
        features = noise(lengths)  # padding included
        with torch.inference_mode():
            expected = model.log_probs(features, lengths, model.table.full)
        actual, counts = runtime(features, lengths)
        assert counts == [model.input.num_stream_frames(n) for n in lengths]
        found += [(actual[i, :n] - expected[i, :n]).abs().max() for i, n in enumerate(counts)]
    return torch.stack(found).max().item()


class InPyTorch:
    def __init__(self, cut_: Cut) -> None:
        self._graph = Graph(cut_.model.recognizer)

    @torch.inference_mode()
    def __call__(self, features_BTF: Tensor, num_frames: Any) -> tuple[Tensor, list[int]]:
        log_probs, lengths = self._graph(features_BTF, torch.tensor(num_frames))
        return log_probs, lengths.tolist()


@pytest.mark.parametrize(
    ("granularity", "layer_type", "positions", "heads"),
    list(
        itertools.product(
            ("layer", "module"),
            ("conformer", "transformer"),
            ("relative", "sinusoidal"),
            ("shared", "per-size", "self-conditioning"),
        )
    ),
)
def test_the_graph_equals_the_cut_model(
    granularity: str, layer_type: LayerType, positions: str, heads: str
) -> None:
    head = {"self_conditioning": True} if heads == "self-conditioning" else {"heads": heads}
    cut_ = small_cut(granularity, layer_type, positions=positions, **head)
    assert largest_difference(cut_, InPyTorch(cut_)) < 5e-6


PUBLISHED: dict[str, Any] = {"positions": "none", "heads": "per-size", "convolution_bias": True}


@pytest.mark.parametrize("granularity", ["layer", "module", "component"])
def test_the_graph_of_the_published_blocks_equals_the_cut_model(granularity: str) -> None:
    cut_ = small_cut(granularity, "conformer-conv-first", **PUBLISHED)
    assert largest_difference(cut_, InPyTorch(cut_)) < 5e-6


def test_the_graph_does_not_change_the_model() -> None:
    cut_ = small_cut()
    names = [type(module).__name__ for module in cut_.model.recognizer.modules()]
    Graph(cut_.model.recognizer)
    assert [type(module).__name__ for module in cut_.model.recognizer.modules()] == names


def test_the_graph_accepts_any_length() -> None:
    graph = Graph(small_cut().model.recognizer)
    with torch.inference_mode():
        longer = 4 * graph.recognizer.config.model.max_frames + 100
        log_probs, lengths = graph(torch.randn(1, longer, 80), torch.tensor([longer]))
        assert lengths.tolist() == [LOG_MEL.num_stream_frames(longer)]
        assert bool(log_probs.isfinite().all())
        log_probs, lengths = graph(torch.randn(2, 20, 80), torch.tensor([0, 20]))
        assert lengths.tolist() == [1, 4]
        assert bool(log_probs[1, :4].isfinite().all())


@pytest.mark.parametrize(
    ("granularity", "layer_type", "model"),
    [
        ("module", "conformer", {"positions": "sinusoidal", "self_conditioning": True}),
        ("module", "transformer", {"positions": "relative", "heads": "per-size"}),
        ("module", "conformer-conv-first", PUBLISHED),
        ("component", "conformer", {"positions": "relative"}),
        ("layer", "conformer", {"subsampling": 8}),
    ],
)
def test_the_onnx_file_equals_the_cut_model(
    granularity: str, layer_type: LayerType, model: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="needs the export extra")
    cut_ = small_cut(granularity, layer_type, **model)
    (written,) = Onnx().write(cut_, tmp_path)
    assert largest_difference(cut_, Onnx().open(written.file)) < 5e-6


def test_int8_quantizes_all_weights_of_products_and_float32_none(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the export extra")
    cut_ = small_cut()
    exact, rounded = Onnx().write(cut_, tmp_path, ["int8"])
    assert (exact.exact, rounded.exact) == (True, False)
    assert largest_difference(cut_, Onnx().open(exact.file)) < 5e-6
    proto = onnx.load(rounded.file)
    weights = {tensor.name for tensor in proto.graph.initializer}
    products = [node for node in proto.graph.node if node.op_type in ("MatMul", "Gemm")]
    assert products, "attention must multiply activations"
    assert [node.name for node in products if weights & set(node.input)] == []
    # Two layers of two feed-forwards, attention, positions and convolution each; the frontend and the head.
    linear = 2 * (2 * 2 + 4 + 1 + 2) + 2
    assert sum(node.op_type == "MatMulInteger" for node in proto.graph.node) == linear
    assert 5e-6 < largest_difference(cut_, Onnx().open(rounded.file)) < 2


def test_int8_products_are_the_same_on_every_processor(tmp_path: Path) -> None:
    """Those without VNNI add two products in 16 bits. Extreme weights and inputs must not exceed these."""
    onnx = pytest.importorskip("onnx", reason="needs the export extra")
    from onnxruntime import InferenceSession

    inputs_BI = torch.tensor([[1.0] * 64, [-0.5] * 64, [1.0, -1.0] * 32])
    products = torch.nn.Linear(64, 16, bias=False)
    with torch.no_grad():
        products.weight.copy_(torch.linspace(0.1, 10, 16)[:, None].expand(-1, 64))
        products.weight[1::2, ::2] *= -1
    exact = trace(products, {"x": inputs_BI}, ["y"], [{0: torch.export.Dim.DYNAMIC}])
    save(exact, {}, tmp_path / "exact.onnx")
    quantize(tmp_path / "exact.onnx", tmp_path / "int8.onnx", "int8")
    tensors = [onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "int8.onnx").graph.initializer]
    (weights_IO,) = (values for values in tensors if values.dtype == np.int8 and values.ndim == 2)
    assert 2 * 255 * np.abs(weights_IO.astype(np.int64)).max() < 2**15
    sessions = [InferenceSession(tmp_path / f"{name}.onnx") for name in ("exact", "int8")]
    expected_BO, actual_BO = (session.run(None, {"x": inputs_BI.numpy()})[0] for session in sessions)
    largest_O = np.abs(products.weight.detach().numpy()).sum(axis=1)  # what one column can add up to
    assert (np.abs(actual_BO - expected_BO) / largest_O).max() < 1 / 64


def test_int4_weights_are_within_a_step_of_their_blocks(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the export extra")
    cut_ = small_cut()
    exact, rounded = Onnx().write(cut_, tmp_path, ["int4"])
    originals = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(exact.file).graph.initializer}
    graph = onnx.load(rounded.file).graph
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "MatMulNBits"]
    assert len(nodes) == 2 * (2 * 2 + 4 + 1 + 2) + 2, "as many as with int8"
    for node in nodes:
        packed_NKB, scales_NK = found[node.input[1]], found[node.input[2]]
        fours_NKW = np.stack([packed_NKB & 15, packed_NKB >> 4], axis=-1).reshape(*scales_NK.shape, BLOCK)
        name = node.input[1].removesuffix("_Q4")
        weights_KN = originals[name] if name in originals else originals[name.removesuffix("_Transposed")].T
        steps_NK, count = np.repeat(scales_NK, BLOCK, axis=1), len(weights_KN)
        values_NK = (fours_NKW.reshape(len(scales_NK), -1) - 8.0) * steps_NK
        errors_NK = np.abs((values_NK[:, :count] - weights_KN.T) / steps_NK[:, :count])
        assert errors_NK.max() < 1.001, "the end of the range that has one value less is clipped"
        assert (errors_NK < 0.501).mean() > 0.9
    assert 5e-6 < largest_difference(cut_, Onnx().open(rounded.file)) < 5


@pytest.mark.parametrize(("positions", "subsampling"), [("relative", 4), ("sinusoidal", 8)])
def test_the_executorch_file_equals_the_cut_model(positions: str, subsampling: int, tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="needs the executorch extra")
    cut_ = small_cut(positions=positions, subsampling=subsampling)
    format = ExecuTorch()
    format.max_seconds = 4
    (written,) = format.write(cut_, tmp_path)
    opened = ExecuTorch().open(written.file)
    assert largest_difference(cut_, opened) < 5e-6
    assert opened(noise([400]), [400])[1] == [cut_.model.recognizer.input.num_stream_frames(400)]
    with pytest.raises(
        ArgumentError, match=r"`max_seconds` must be at least .* but is 4, and one lasts 4\.1 s"
    ):
        opened(noise([410]), [410])


def test_methods_of_an_executorch_program_equal_their_cut_models_and_share_weights(tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="needs the executorch extra")
    net = recognizer(tiny_config(model={"dim": 64, "ffn_dim": 512, "num_layers": 2})).float()
    subnets = [net.table.subnet(net.table.first(size)) for size in (1, 2)]
    cuts = [Cut(Model(cut(net, s), TOKENS), s, {"budget": f"units={s.size}"}) for s in subnets]
    (tmp_path / "alone").mkdir()
    (alone,) = ExecuTorch().write(cuts[1], tmp_path / "alone")
    written = SharedExecuTorch(Model(net, TOKENS), cuts)
    files = [file for (file,) in written.write(tmp_path)]
    assert {file.file for file in files} == {tmp_path / "model.pte"}
    for cut_ in cuts:
        assert largest_difference(cut_, written.open(tmp_path / "model.pte", cut_)) < 5e-6
    assert files[0].file.stat().st_size < 1.15 * alone.file.stat().st_size
    assert [name_of(cut_) for cut_ in cuts] == ["size_units_1", "size_units_2"]


def test_widths_are_rounded_up_to_those_that_executorch_supports() -> None:
    assert [WIDTHS["log-mel"].width(n) for n in (1, 11, 12, 15, 16)] == [11, 11, 15, 15, 19]
    assert [WIDTHS["samples"].width(n) for n in (1, 640, 641)] == [640, 640, 960]
    for widths in WIDTHS.values():
        for seconds in (4, MAX_SECONDS):
            assert widths.width(seconds * widths.rate) <= widths.step * widths.steps(seconds) + widths.rest
