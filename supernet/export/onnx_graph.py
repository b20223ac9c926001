"""Modules of PyTorch as ONNX graphs: tracing, metadata, rounding to integers, and running."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from supernet.export.kinds import KINDS
from supernet.runtime.precision import Precision

LENGTHS = "log_probs_len"
"""The name of the second output."""
OPSET = 18
IR_VERSION = 8
"""The version that the onnxruntime of older sherpa-onnx releases reads; the exporter's default is newer."""
_EVERYTHING = 1 << 40
BLOCK = 32
"""Weights of a column that share a scale in int4; widths need not be multiples."""
_IN_INT8 = 4
"""The accuracy level at which products of int4 weights are computed in int8, which is faster."""


def trace(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], dynamic: Sequence[Any]
) -> Any:
    """The graph of ``module``, an ``onnx.ModelProto``.

    Args:
        module: Called with the values of ``inputs`` by position.
        inputs: Examples by the names that the inputs get.
        outputs: The names that the outputs get.
        dynamic: The dynamic dimensions of each input, as in ``torch.export``.
    """
    from onnxscript import optimizer

    program = torch.onnx.export(
        module,
        tuple(inputs.values()),
        input_names=list(inputs),
        output_names=list(outputs),
        dynamic_shapes=tuple(dynamic),
        opset_version=OPSET,
        external_data=False,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    # Weights that are reshaped before they are used else stay so, and are not found when rounding to int8.
    optimizer.fold_constants(program.model, input_size_limit=_EVERYTHING, output_size_limit=_EVERYTHING)
    optimizer.remove_unused_nodes(program.model)
    return _cleaned(program.model_proto)


def give_default(proto: Any, name: str, value: Tensor) -> None:
    """Let the input ``name`` of a graph be left out, which is then ``value``."""
    import onnx

    proto.graph.initializer.append(onnx.numpy_helper.from_array(value.numpy(), name))


def _cleaned(proto: Any) -> Any:
    """Remove the exporter's source lines, which contain paths of this machine."""
    proto.ir_version = IR_VERSION
    proto.doc_string, proto.graph.doc_string = "", ""
    for part in (*proto.graph.node, *proto.graph.initializer, *proto.graph.input, *proto.graph.output):
        part.doc_string = ""
        part.ClearField("metadata_props")
    for field in ("value_info", "metadata_props"):
        proto.graph.ClearField(field)
    return proto


def save(proto: Any, metadata: Mapping[str, str], file: Path) -> None:
    """Check a graph, and write it with ``metadata``."""
    import onnx

    onnx.helper.set_model_props(proto, dict(metadata))
    onnx.checker.check_model(proto)
    file.write_bytes(proto.SerializeToString())


def quantize(source: Path, target: Path, precision: Precision) -> None:
    """Round the weights of matrix products to integers.

    int8: one scale for each output; activations are rounded in each call. Only 7 bits of a weight are used,
    as x86 processors without VNNI add two products in 16 bits, which overflow with 8. int4: one scale for
    ``BLOCK`` weights of an output (``MatMulNBits``, an operator of onnxruntime and of programs built on it).
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    if precision == "int8":
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )
        return
    import onnx

    with _no_handlers():
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    quantizer = MatMulNBitsQuantizer(
        onnx.load(source), bits=4, block_size=BLOCK, is_symmetric=True, accuracy_level=_IN_INT8
    )
    quantizer.model.replace_gemm_with_matmul()
    quantizer.process()
    target.write_bytes(quantizer.model.model.SerializeToString())


@contextlib.contextmanager
def _no_handlers() -> Iterator[None]:
    """Keep an import from configuring the logs of the whole process."""
    handler = logging.NullHandler()  # with one, ``basicConfig`` does nothing
    logging.root.addHandler(handler)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)


class Session:
    """A file run by onnxruntime.

    Args:
        file: An ONNX file with the inputs of a ``kinds.Kind`` that its metadata name.
        more: Further inputs, with the same values in every call.
    """

    def __init__(self, file: Path, more: Mapping[str, Tensor] | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # it warns of inputs that may be left out
        self._session = onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
        self._metadata = self._session.get_modelmeta().custom_metadata_map
        self._kind = KINDS[self._metadata.get("input", "log-mel")]
        self._outputs = [output.name for output in self._session.get_outputs()[:2]]
        self._more = {name: value.numpy() for name, value in (more or {}).items()}

    def __call__(self, features_BTF: Tensor, num_frames: Sequence[int]) -> tuple[Tensor, list[int]]:
        x, lengths = self._kind.read(features_BTF, num_frames, self._metadata)
        values = x.float().cpu().numpy(), torch.tensor(lengths).numpy()
        inputs = dict(zip(self._kind.inputs, values, strict=True))
        log_probs_BSV, lengths_B = self._session.run(self._outputs, inputs | self._more)
        return torch.from_numpy(log_probs_BSV), lengths_B.tolist()
