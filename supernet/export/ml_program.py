"""ML programs, the networks in Core ML packages, evaluated in PyTorch where Core ML does not run.

Operations are those of coremltools' reference of MIL, the language of these programs.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from supernet.export.formats import quiet
from supernet.runs.run import RunError

WEIGHTS = Path("Data/com.apple.CoreML/weights")
"""The folder of a package that holds the weights."""
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "int32": torch.int32, "bool": torch.bool}


class MLProgram:
    """A function of a package, run one operation at a time in float32.

    Args:
        package: The package (``.mlpackage``).
        name: The function's name.
    """

    def __init__(self, package: Path, name: str) -> None:
        with quiet():
            import coremltools
            from coremltools.converters.mil.frontend.milproto import load

            specification = coremltools.utils.load_spec(str(package))
            program = load.load(specification, specification.specificationVersion, str(package / WEIGHTS))
        self._function: Any = program.functions[name]
        self._constants: dict[Any, Any] = {
            output: _constant(output.val)
            for operation in self._function.operations
            if operation.op_type == "const"
            for output in operation.outputs
        }

    @torch.inference_mode()
    def __call__(self, **inputs: Tensor) -> list[Tensor]:
        """The outputs for ``inputs``.

        Raises:
            RunError: The program has an operation that is unknown here.
        """
        values = {variable: inputs[name] for name, variable in self._function.inputs.items()}

        def read(variable: Any) -> Any:
            if isinstance(variable, list | tuple):
                return [read(one) for one in variable]
            return self._constants[variable] if variable in self._constants else values[variable]

        for operation in self._function.operations:
            if (kind := operation.op_type) == "const":
                continue
            if kind not in OPERATIONS:
                raise unknown(f"the operation `{kind}`")
            given = {name: read(value) for name, value in operation.inputs.items() if value is not None}
            found = OPERATIONS[kind](**given)
            results = found if isinstance(found, tuple) else (found,)
            values |= zip(operation.outputs, results, strict=True)
        return [values[output] for output in self._function.outputs]


def unknown(what: str) -> RunError:
    """The error of a program that cannot be verified."""
    return RunError(
        f"`format` coreml must have operations that can be evaluated here, but the network needs {what}. "
        "`format` onnx holds it."
    )


def _constant(value: Any) -> Any:
    return value if isinstance(value, str) else torch.as_tensor(value)


def _integers(x: Tensor) -> list[int]:
    return [int(n) for n in x.flatten().tolist()]


def _batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
) -> Tensor:
    return F.batch_norm(x, mean, variance, gamma, beta, eps=float(epsilon))


def _cast(x: Tensor, dtype: str) -> Tensor:
    return x.to(_DTYPES[dtype])


def _concat(values: Sequence[Tensor], axis: Tensor, interleave: Tensor) -> Tensor:
    if interleave:
        raise unknown("interleaved concatenation")
    return torch.cat([x.reshape(1) if x.dim() == 0 else x for x in values], int(axis))


def _conv(
    x: Tensor,
    weight: Tensor,
    strides: Tensor,
    pad_type: str,
    pad: Tensor,
    dilations: Tensor,
    groups: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    if pad_type not in ("valid", "custom"):
        raise unknown(f"convolutions with {pad_type} padding")
    if pad_type == "custom":
        x = _pad(x, pad, "constant", torch.tensor(0.0))
    run = {1: F.conv1d, 2: F.conv2d}[len(strides)]
    return run(x, weight, bias, _integers(strides), 0, _integers(dilations), int(groups))


def _expand(x: Tensor, axes: Tensor) -> Tensor:
    rank = x.ndim + len(axes)
    for axis in sorted(n % rank for n in _integers(axes)):
        x = x.unsqueeze(axis)
    return x


def _gather(x: Tensor, indices: Tensor, axis: Tensor, batch_dims: Tensor, validate_indices: Tensor) -> Tensor:
    if int(batch_dims):
        raise unknown("gathering by row")
    at = int(axis) % x.ndim
    found = x.index_select(at, indices.flatten().long() % x.shape[at])
    return found.reshape((*x.shape[:at], *indices.shape, *x.shape[at + 1 :]))


def _gelu(x: Tensor, mode: str) -> Tensor:
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="none" if mode == "EXACT" else "tanh")


def _layer_norm(
    x: Tensor, axes: Tensor, epsilon: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None
) -> Tensor:
    if sorted(n % x.ndim for n in _integers(axes)) != [*range(x.ndim - len(axes), x.ndim)]:
        raise unknown("normalization of other than the last axes")
    return F.layer_norm(x, x.shape[x.ndim - len(axes) :], gamma, beta, float(epsilon))


def _matmul(x: Tensor, y: Tensor, transpose_x: Tensor, transpose_y: Tensor) -> Tensor:
    return (x.mT if transpose_x else x) @ (y.mT if transpose_y else y)


def _pad(x: Tensor, pad: Tensor, mode: str, constant_val: Tensor) -> Tensor:
    """``pad`` has pairs for the last axes in their order; PyTorch takes the last axis first."""
    pairs = list(zip(*[iter(_integers(pad))] * 2, strict=True))
    reverse = [n for pair in reversed(pairs) for n in pair]
    if mode != "constant":
        raise unknown(f"{mode} padding")
    return F.pad(x, reverse, value=float(constant_val))


def _reduce(run: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def reduced(x: Tensor, keep_dims: Tensor, axes: Tensor | None = None) -> Tensor:
        return run(x, dim=[*range(x.ndim)] if axes is None else _integers(axes), keepdim=bool(keep_dims))

    return reduced


def _attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask)


def _slice(
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None = None,
    begin_mask: Tensor | None = None,
    end_mask: Tensor | None = None,
    squeeze_mask: Tensor | None = None,
) -> Tensor:
    def masked(mask: Tensor | None) -> list[bool]:
        return [False] * x.ndim if mask is None else [bool(n) for n in mask.tolist()]

    starts, ends, squeezed = masked(begin_mask), masked(end_mask), masked(squeeze_mask)
    steps = [1] * x.ndim if stride is None else _integers(stride)
    if min(steps) < 1:
        raise unknown("slices in reverse order")
    at: list[int | slice] = []
    for i, (first, last) in enumerate(zip(_integers(begin), _integers(end), strict=True)):
        whole = slice(None if starts[i] else first, None if ends[i] else last, steps[i])
        at.append(first if squeezed[i] else whole)
    return x[tuple(at)]


def _split(
    x: Tensor, axis: Tensor, num_splits: Tensor | None = None, split_sizes: Tensor | None = None
) -> tuple[Tensor, ...]:
    if split_sizes is not None:
        return x.split_with_sizes(_integers(split_sizes), int(axis))
    assert num_splits is not None
    return x.tensor_split(int(num_splits), int(axis))


def _squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(_integers(axes)))


_UNARY: Mapping[str, Callable[[Any], Any]] = {
    "abs": torch.abs,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "erf": torch.erf,
    "exp": torch.exp,
    "floor": torch.floor,
    "identity": torch.clone,
    "logical_not": torch.logical_not,
    "relu": F.relu,
    "shape": lambda x: torch.tensor(x.shape, dtype=torch.int32),
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "sign": torch.sign,
    "sin": torch.sin,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tanh": torch.tanh,
}
_BINARY: Mapping[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "equal": torch.eq,
    "floor_div": lambda x, y: torch.div(x, y, rounding_mode="floor"),
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "mod": torch.remainder,
    "mul": operator.mul,
    "not_equal": torch.ne,
    "pow": torch.pow,
    "real_div": lambda x, y: x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="floor"),
    "sub": operator.sub,
}


def _by_name(run: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """``run`` with its inputs by name, as programs give them."""
    return lambda **given: run(*(given[name] for name in names))


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    **{name: _by_name(run, "x") for name, run in _UNARY.items()},
    **{name: _by_name(run, "x", "y") for name, run in _BINARY.items()},
    "batch_norm": _batch_norm,
    "cast": _cast,
    "clip": lambda x, alpha, beta: x.clamp(float(alpha), float(beta)),
    "concat": _concat,
    "conv": _conv,
    "expand_dims": _expand,
    "gather": _gather,
    "gelu": _gelu,
    "layer_norm": _layer_norm,
    "linear": lambda x, weight, bias=None: F.linear(x, weight, bias),
    "log": lambda x, epsilon: torch.log(x + epsilon),
    "matmul": _matmul,
    "pad": _pad,
    "range_1d": lambda start, end, step: torch.arange(int(start), int(end), int(step), dtype=torch.int32),
    "reduce_max": _reduce(torch.amax),
    "reduce_mean": _reduce(torch.mean),
    "reduce_sum": _reduce(torch.sum),
    "reshape": lambda x, shape: x.reshape(_integers(shape)),
    "rsqrt": lambda x, epsilon: torch.rsqrt(x + epsilon),
    "scaled_dot_product_attention": _attention,
    "select": lambda cond, a, b: torch.where(cond, a, b),
    "slice_by_index": _slice,
    "softmax": lambda x, axis: F.softmax(x, int(axis)),
    "split": _split,
    "squeeze": _squeeze,
    "stack": lambda values, axis: torch.stack(list(values), int(axis)),
    "tile": lambda x, reps: x.tile(_integers(reps)),
    "transpose": lambda x, perm: x.permute(_integers(perm)),
}
"""The operations by name, with the names of their inputs."""
