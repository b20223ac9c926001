"""Weights of which each size keeps some parts, as slices of tensors that all sizes share.

A part of a module, such as an attention head or a chunk of a feed-forward, has some rows or columns of the
module's matrices. Stored one after another, the parts of a size are one stretch of a file, or several, which
its graph concatenates; onnxruntime does so once, on opening. What runs is as narrow as the cut model.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from supernet.export.formats import quiet
from supernet.export.onnx_graph import BLOCK, IR_VERSION, OPSET, quantize
from supernet.network.parts import chosen
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runtime.precision import FULL, Precision
from supernet.units import Kept

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Slice:
    """Some rows of a stored tensor, as a tensor of a graph."""

    whole: Array
    """The stored tensor, contiguous in memory."""
    runs: Sequence[range]
    """Its rows, as stretches of adjacent ones."""
    shape: tuple[int, ...]
    """The shape in the graph."""
    axis: int
    """The axis in the graph along which the rows follow each other."""

    @property
    def values(self) -> Array:
        """The tensor of the graph."""
        import numpy as np

        rows = np.concatenate([self.whole[run.start : run.stop] for run in self.runs])
        return np.moveaxis(rows, 0, self.axis if self.is_turned else 0).reshape(self.shape)

    @property
    def is_turned(self) -> bool:
        """Whether the graph has the rows along another axis than the first."""
        return self.axis > 0 and self.whole.ndim > 1


@dataclass(frozen=True)
class Divided:
    """A weight of the supernet that is divided among the parts of a module, as graphs have it."""

    values: Array
    """A vector or a matrix (inputs, outputs), without parts that no size keeps."""
    axis: int
    """Along which the parts follow each other."""
    parts: tuple[int, ...]
    """The numbers of these parts."""

    @property
    def width(self) -> int:
        """The rows or columns of a part."""
        return int(self.values.shape[self.axis]) // len(self.parts)

    @property
    def transposed(self) -> Divided:
        """The matrix as (outputs, inputs)."""
        return Divided(self.values.T, 1 - self.axis, self.parts)

    def of(self, kept: Sequence[int]) -> Slice:
        """The weight of the parts ``kept``."""
        return self.slice(self.values, self.axis, kept)

    def slice(self, values: Array, axis: int, kept: Sequence[int]) -> Slice:
        """The share of the parts ``kept`` in ``values``, a tensor whose axis ``axis`` the parts divide."""
        import numpy as np

        width = values.shape[axis] // len(self.parts)
        runs = [range(run.start * width, run.stop * width) for run in _runs(map(self.parts.index, kept))]
        shape = [*values.shape]
        shape[axis] = len(kept) * width
        return Slice(np.ascontiguousarray(np.moveaxis(values, axis, 0)), runs, tuple(shape), axis)


class Slices:
    """The slices in the graphs of a supernet's sizes.

    Args:
        recognizer: The supernet.
        sizes: The units that each size keeps.
        precisions: The precisions of the graphs.
    """

    def __init__(
        self, recognizer: SupernetCTC, sizes: Sequence[Kept], precisions: Iterable[Precision]
    ) -> None:
        self._weights = {
            group: list(_divided(recognizer, group, sizes)) for group in recognizer.table.divided
        }
        matrices = [one for some in self._weights.values() for one in some if one.values.ndim == 2]
        self._rounded = {one: _rounded(matrices, one) for one in precisions if one != FULL}

    def of(self, graph: Any, kept: Kept, precision: Precision) -> dict[str, Slice]:
        """The slices in a graph of ``precision``, by name.

        Args:
            graph: The graph of the size in float32; the names in others follow from its names.
            kept: The units of the size.
            precision: That of the graph in question.
        """
        tensors = defaultdict[bytes, list[Any]](list)
        for tensor in graph.initializer:
            tensors[tensor.raw_data].append(tensor)
        found = dict[str, Slice]()
        for group, weights in self._weights.items():
            parts = [part for part, unit in enumerate(group) if kept[unit]]
            for weight in weights if parts else ():
                for part, end in self._forms(weight, parts):
                    for tensor in tensors[part.values.tobytes()]:
                        found |= self._named(tensor, part, end, weight, parts, precision)
        return found

    def _forms(self, weight: Divided, parts: Sequence[int]) -> Iterator[tuple[Slice, str]]:
        """The tensors that a graph may have of ``weight``, and what rounding adds to their names."""
        yield weight.of(parts), ""
        if weight.values.ndim == 2:
            yield weight.transposed.of(parts), "_Transposed"

    def _named(
        self, tensor: Any, part: Slice, form: str, weight: Divided, parts: Sequence[int], precision: Precision
    ) -> dict[str, Slice]:
        """The slices that stand for ``tensor`` in a graph of ``precision``."""
        shape = tuple(tensor.dims)
        if part.whole.ndim == 1:  # with further axes of length 1
            axis = shape.index(max(shape))
            return {tensor.name: replace(part, shape=shape, axis=axis)} if max(shape) == part.shape[0] else {}
        if shape != part.shape:
            return {}
        if precision == FULL:
            return {tensor.name: part}
        return {
            f"{tensor.name}{form}{end}": _whole(values) if axis is None else weight.slice(values, axis, parts)
            for end, (values, axis) in self._rounded[precision].get(id(weight), {}).items()
        }


def _divided(recognizer: SupernetCTC, group: Sequence[int], sizes: Sequence[Kept]) -> Iterator[Divided]:
    """The weights that the units of ``group`` divide."""
    import numpy as np

    unit, count = recognizer.table.units[group[0]], len(group)
    branch = recognizer.encoder.branches(unit.layer).named[str(unit.module)]
    parts = tuple(part for part, unit in enumerate(group) if any(kept[unit] for kept in sizes))
    if branch.division is None or not parts:
        return
    for name, axis in branch.division.axes.items():
        weight: torch.Tensor | None = attrgetter(name)(branch.module)
        if weight is not None:
            values = chosen(weight.detach().float().cpu(), parts, count, axis).numpy()
            if values.ndim == 2 and name.endswith("weight"):  # graphs multiply by the transpose
                yield Divided(np.ascontiguousarray(values.T), 1 - axis, parts)
            elif values.ndim == 1:
                yield Divided(values, axis, parts)


_Rounded = dict[int, dict[str, tuple["Array", int | None]]]


def _rounded(matrices: Sequence[Divided], precision: Precision) -> _Rounded:
    """Round each matrix with the parts of all sizes.

    Returns:
        The tensors of each matrix, by its ``id`` and the ends of their names in graphs, with the axis that
        the parts divide. None: they have it in common. Matrices without slices are left out: int4 has a scale
        for ``BLOCK`` inputs, which must not be of several parts.
    """
    import onnx

    with tempfile.TemporaryDirectory() as place, quiet():
        exact, rough = Path(place, "exact.onnx"), Path(place, "rough.onnx")
        exact.write_bytes(_products([one.values for one in matrices]).SerializeToString())
        quantize(exact, rough, precision)
        tensors = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(rough).graph.initializer}
    found: _Rounded = {}
    for number, one in enumerate(matrices):
        if precision == "int8":
            outputs = 0 if one.axis == 1 else None  # each has its scale
            axes: dict[str, int | None] = {"_quantized": one.axis, "_scale": outputs, "_zero_point": outputs}
        elif one.axis == 1 or one.width % BLOCK == 0:
            axes = {"_Q4": 1 - one.axis, "_scales": 1 - one.axis}  # (outputs, blocks of inputs, …)
        else:
            continue
        found[id(one)] = {end: (tensors[f"w{number}{end}"], axis) for end, axis in axes.items()}
    return found


def _products(matrices: Sequence[Array]) -> Any:
    """A graph of products with each of ``matrices``."""
    from onnx import TensorProto, helper, numpy_helper

    numbers = range(len(matrices))
    shapes = [matrix.shape for matrix in matrices]
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"y{i}"]) for i in numbers],
            "products",
            [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, ["n", shapes[i][0]]) for i in numbers],
            [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, ["n", shapes[i][1]]) for i in numbers],
            [numpy_helper.from_array(matrix, f"w{i}") for i, matrix in enumerate(matrices)],
        ),
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


def _whole(values: Array) -> Slice:
    """All of a small tensor."""
    return Slice(values.reshape(-1), [range(values.size)], values.shape, 0)


def _runs(places: Iterable[int]) -> list[range]:
    """Ascending ``places`` as stretches of adjacent ones."""
    found = list[range]()
    for place in places:
        if found and found[-1].stop == place:
            found[-1] = range(found[-1].start, place + 1)
        else:
            found.append(range(place, place + 1))
    return found
