"""The precisions that the weights of an export may have. Imports nothing."""

from __future__ import annotations

from typing import Literal, get_args

Precision = Literal["float32", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
"""The most accurate first."""
FULL: Precision = "float32"
"""The precision of a file that must reproduce the cut model."""
ROUNDED: tuple[Precision, ...] = PRECISIONS[1:]


def is_wrong(difference: float, expected: float) -> bool:
    """Whether rounded weights compute something else here than where they were verified, as some releases of
    onnxruntime have faulty kernels for some processors.

    Args:
        difference: The largest difference of log-probabilities from those in float32, maybe not a number.
        expected: That at the export, on other noise: 10 times as much are accepted, and always 1.
    """
    return not difference <= max(1.0, 10 * expected)


def suffix(precision: Precision) -> str:
    """The part of a file's name that tells its precision: ``model.int8.onnx`` beside ``model.onnx``."""
    return "" if precision == FULL else f".{precision}"
