"""The precisions that the weights of an export may have. Imports nothing."""

from __future__ import annotations

from typing import Literal, get_args

Precision = Literal["float32", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
"""The most accurate first."""
FULL: Precision = "float32"
"""The precision of a file that must reproduce the cut model."""
ROUNDED: tuple[Precision, ...] = PRECISIONS[1:]


def suffix(precision: Precision) -> str:
    """The part of a file's name that tells its precision: ``model.int8.onnx`` beside ``model.onnx``."""
    return "" if precision == FULL else f".{precision}"
