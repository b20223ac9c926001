"""A graph of an export, opened and compared with the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from supernet.audio.specification import NUM_BANDS
from supernet.errors import UserError
from supernet.runtime.export_folder import ExportFolder, Size
from supernet.runtime.record import RECORD

OUTPUTS = ["log_probs", "log_probs_len"]


class _Array(NamedTuple):
    """An input or output of a graph."""

    type: str
    shape: tuple[int | None, ...]
    """None: any number."""

    def __str__(self) -> str:
        return f"{self.type} of shape [{', '.join('?' if n is None else str(n) for n in self.shape)}]"


def open_graph(folder: ExportFolder, size: Size, threads: int) -> Any:
    """A session of onnxruntime with the graph of ``size``.

    Raises:
        UserError: The file is no graph with the units and symbols of the record.
    """
    import onnxruntime

    file, options = folder.folder / size.file, onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    # Its exceptions have no base class of their own.
    except Exception as e:
        reason = (" ".join(str(e).split()) or type(e).__name__)[:200].rstrip(".")
        raise UserError(f"'{file}' must be a graph for onnxruntime, but is not: {reason}.") from None
    features, lengths = _Array("tensor(float)", (None, None, NUM_BANDS)), _Array("tensor(int64)", (None,))
    inputs = {"x": features, "x_lens": lengths}
    if folder.is_on_demand:
        inputs["kept"] = _Array("tensor(bool)", (len(size.kept),))
    symbols = _Array("tensor(float)", (None, None, len(folder.symbols.symbols)))
    outputs = dict(zip(OUTPUTS, (symbols, lengths), strict=True))
    problems = [
        f"'{file}' must be the graph that {RECORD} describes, but its {side} `{name}` is "
        f"{found.get(name, 'missing')} instead of {wanted.get(name, 'missing')}."
        for side, wanted, found in (
            ("input", inputs, _arrays(session.get_inputs())),
            ("output", outputs, _arrays(session.get_outputs())),
        )
        for name in {**wanted, **found}
        if found.get(name) != wanted.get(name)
    ]
    if problems:
        raise UserError("\n".join(problems))
    return session


def _arrays(nodes: Iterable[Any]) -> Mapping[str, _Array]:
    return {
        node.name: _Array(node.type, tuple(n if isinstance(n, int) else None for n in node.shape))
        for node in nodes
    }
