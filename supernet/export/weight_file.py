"""ONNX graphs whose weights lie in one file beside them (external data), each weight once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from supernet.export.slicing import Slice

SMALLEST = 256
"""Bytes of the smallest tensor that is moved: shapes and constants stay, which graphs are optimized by."""
ALIGNMENT = 64
"""Weights start at multiples of a cache line."""


def share_weights(
    graphs: Sequence[Path], weights: Path, slices: Sequence[Mapping[str, Slice]] | None = None
) -> None:
    """Move the weights of ``graphs``, ONNX files, into ``weights`` in the same folder.

    Equal weights are stored once, in the order in which the first of the graphs uses them, so that the file
    is as large as those of the largest graph if it contains the others.

    Args:
        graphs: The files, which are replaced.
        weights: The file to write.
        slices: For each graph, the tensors, by name, that are slices of stored ones.
    """
    import onnx

    stored = _Stored(weights.name)
    with weights.open("wb") as stored.file:
        for graph, sliced in zip(graphs, slices or [{}] * len(graphs), strict=True):
            proto = onnx.load(graph)
            stored.take(proto.graph, sliced)
            graph.write_bytes(proto.SerializeToString())


class _Stored:
    """A file of weights that is being written."""

    file: BinaryIO

    def __init__(self, name: str) -> None:
        self._name = name
        self._places = dict[bytes, int]()

    def take(self, graph: Any, slices: Mapping[str, Slice]) -> None:
        """Move the weights of ``graph`` here."""
        tensors, nodes = list[Any](), list[Any]()
        for tensor in graph.initializer:
            if tensor.name in slices:
                found, made = self._pieces(tensor, slices[tensor.name])
                tensors += found
                nodes += made
            else:
                tensors.append(tensor)
                if len(tensor.raw_data) >= SMALLEST:
                    self._refer(tensor, self._place(tensor.raw_data), len(tensor.raw_data))
        nodes += graph.node
        for field, values in ((graph.initializer, tensors), (graph.node, nodes)):
            copied = [type(value).FromString(value.SerializeToString()) for value in values]
            del field[:]
            field.extend(copied)

    def _pieces(self, tensor: Any, part: Slice) -> tuple[list[Any], list[Any]]:
        """The tensors of the stretches of ``part``, and the nodes that make ``tensor`` of them."""
        from onnx import helper, numpy_helper

        if part.whole.nbytes < SMALLEST:
            return [numpy_helper.from_array(part.values, tensor.name)], []
        start, row = self._place(part.whole.tobytes()), part.whole[0].nbytes
        names, found, nodes = list[str](), list[Any](), list[Any]()
        axis = 0 if part.is_turned else part.axis
        rows = (0, *part.whole.shape[1:]) if part.is_turned else part.shape
        for number, run in enumerate(part.runs):
            names.append(f"{tensor.name}.{number}")
            shape = (*rows[:axis], len(run), *rows[axis + 1 :])
            found.append(type(tensor)(name=names[-1], data_type=tensor.data_type, dims=shape))
            self._refer(found[-1], start + run.start * row, len(run) * row)
        if len(found) > 1:
            names = [f"{tensor.name}.rows", *names]
            nodes.append(helper.make_node("Concat", names[1:], names[:1], axis=axis))
        if part.is_turned:
            order = [*range(1, part.axis + 1), 0, *range(part.axis + 1, len(part.shape))]
            nodes.append(helper.make_node("Transpose", names[:1], [tensor.name], perm=order))
        elif nodes:
            nodes[-1].output[0] = tensor.name
        else:
            found[0].name = tensor.name
        return found, nodes

    def _place(self, data: bytes) -> int:
        """The offset of ``data``, which is added if it is new."""
        key = hashlib.sha256(data).digest()
        if key not in self._places:
            self.file.write(bytes(-self.file.tell() % ALIGNMENT))
            self._places[key] = self.file.tell()
            self.file.write(data)
        return self._places[key]

    def _refer(self, tensor: Any, offset: int, length: int) -> None:
        from onnx.external_data_helper import set_external_data

        tensor.raw_data = b""  # the function below asks for some
        set_external_data(tensor, self._name, offset, length)
        tensor.ClearField("raw_data")
