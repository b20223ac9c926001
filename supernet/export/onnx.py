"""ONNX: one file for sherpa-onnx (`from_zipformer_ctc`) and plain onnxruntime alike.

sherpa-onnx asks for the inputs and outputs in this order, the lengths in int64; metadata are for its older
releases and for people.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supernet.audio.features import LOG_MEL
from supernet.export.formats import Format, Runtime, Written, quiet
from supernet.export.graph import Graph, example
from supernet.runs.cut_model import Cut
from supernet.text.tokens import Tokens

OPSET = 18
IR_VERSION = 8
"""The version that the onnxruntime of older sherpa-onnx releases reads; the exporter's default is newer."""
_EVERYTHING = 1 << 40


class Onnx(Format):
    """``model.onnx``, optionally ``model.int8.onnx``, and ``tokens.txt``.

    For pieces, also ``bpe.model`` and ``bpe.vocab``, which split hotwords.
    """

    name = "sherpa-onnx"
    extra = "export"
    packages = ("onnx", "onnxscript", "onnxruntime")
    has_int8 = True

    def write(self, cut: Cut, folder: Path, int8: bool) -> list[Written]:
        written = [Written(folder / "model.onnx")]
        with quiet():
            _export(cut, written[0].file)
            if int8:
                written.append(Written(folder / "model.int8.onnx", exact=False))
                _quantize(written[0].file, written[1].file)
        save_tokens(cut.model.tokens, folder)
        return written

    def open(self, file: Path) -> Runtime:
        return _Session(file)


def save_tokens(tokens: Tokens, folder: Path) -> None:
    """Write the files of ``Onnx`` that give the meaning of token ids."""
    sherpa_tokens(tokens).save(folder / "tokens.txt")
    if tokens.kind == "pieces":
        lines = (f"{piece}\t{score}\n" for piece, score in tokens.scores())
        (folder / "bpe.vocab").write_text("".join(lines), encoding="utf-8")


def sherpa_tokens(tokens: Tokens) -> Tokens:
    """The symbols for sherpa-onnx, which concatenates them and reads ▁ as a space."""
    if tokens.kind != "words":
        return tokens
    blank, *words = tokens.symbols
    return Tokens((blank, *(f"▁{word}" for word in words)), tokens.kind)


def _export(cut: Cut, file: Path) -> None:
    from onnxscript import optimizer

    dynamic = torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        Graph(cut.model.recognizer),
        example(),
        input_names=["x", "x_lens"],
        output_names=["log_probs", "log_probs_len"],
        dynamic_shapes=({0: dynamic, 1: dynamic}, {0: dynamic}),
        opset_version=OPSET,
        external_data=False,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    # Weights that are reshaped before they are used else stay so, and are not found when rounding to int8.
    optimizer.fold_constants(program.model, input_size_limit=_EVERYTHING, output_size_limit=_EVERYTHING)
    optimizer.remove_unused_nodes(program.model)
    proto = program.model_proto
    _finish(proto, cut)
    file.write_bytes(proto.SerializeToString())


def _finish(proto: Any, cut: Cut) -> None:
    """Add metadata, and remove the exporter's source lines, which contain paths of this machine."""
    import onnx

    proto.ir_version = IR_VERSION
    proto.doc_string, proto.graph.doc_string = "", ""
    for part in (*proto.graph.node, *proto.graph.initializer, *proto.graph.input, *proto.graph.output):
        part.doc_string = ""
        part.ClearField("metadata_props")
    for field in ("value_info", "metadata_props"):
        proto.graph.ClearField(field)
    onnx.helper.set_model_props(proto, _metadata(cut))
    onnx.checker.check_model(proto)


def _metadata(cut: Cut) -> dict[str, str]:
    """Metadata: the keys of sherpa-onnx, and a description of the model."""
    return {
        "model_type": "zipformer2_ctc",
        "version": "1",
        "vocab_size": str(len(cut.model.tokens)),
        "tokens": cut.model.tokens.kind,
        "subsampling_factor": str(LOG_MEL.subsampling),
        "size": str(cut.subnet.size),
        "granularity": cut.subnet.granularity,
        "kept": " ".join(cut.subnet.kept),
        "provenance": json.dumps(cut.provenance),
    }


def _quantize(source: Path, target: Path) -> None:
    """Quantize the weights of matrix products to int8; activations are quantized dynamically."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(source, target, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8)


class _Session:
    """A file run by onnxruntime."""

    def __init__(self, file: Path) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def __call__(self, features_BTF: Tensor, num_frames: Sequence[int]) -> tuple[Tensor, list[int]]:
        inputs = {"x": features_BTF.float().cpu().numpy(), "x_lens": torch.tensor(num_frames).numpy()}
        log_probs_BSV, lengths_B = self._session.run(["log_probs", "log_probs_len"], inputs)
        return torch.from_numpy(log_probs_BSV), lengths_B.tolist()
