"""ONNX graphs whose weights lie in one file beside them (external data), each weight once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

SMALLEST = 256
"""Bytes of the smallest tensor that is moved: shapes and constants stay, which graphs are optimized by."""
ALIGNMENT = 64
"""Weights start at multiples of a cache line."""


def share_weights(graphs: Sequence[Path], weights: Path) -> None:
    """Move the weights of ``graphs``, ONNX files, into ``weights`` in the same folder.

    Equal weights are stored once, in the order in which the first of the graphs uses them, so that the file
    is as large as those of the largest graph if it contains the others.
    """
    import onnx

    places: dict[bytes, int] = {}
    with weights.open("wb") as file:
        for graph in graphs:
            proto = onnx.load(graph)
            for tensor in proto.graph.initializer:
                if len(tensor.raw_data) >= SMALLEST:
                    offset = _place(tensor.raw_data, file, places)
                    _refer(tensor, weights.name, offset)
            graph.write_bytes(proto.SerializeToString())


def _place(data: bytes, file: BinaryIO, places: dict[bytes, int]) -> int:
    """The offset of ``data`` in ``file``, to which it is added if it is new."""
    key = hashlib.sha256(data).digest()
    if key not in places:
        file.write(bytes(-file.tell() % ALIGNMENT))
        places[key] = file.tell()
        file.write(data)
    return places[key]


def _refer(tensor: Any, location: str, offset: int) -> None:
    from onnx.external_data_helper import set_external_data

    set_external_data(tensor, location, offset, len(tensor.raw_data))
    tensor.ClearField("raw_data")
