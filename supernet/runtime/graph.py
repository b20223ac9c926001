"""A graph of an export, opened and compared with the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from supernet.audio.specification import FRAMES_PER_SECOND, NUM_BANDS
from supernet.errors import UserError
from supernet.runtime.export_folder import ExportFolder, Size
from supernet.runtime.precision import is_wrong
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


def run_graph(
    folder: ExportFolder, size: Size, session: Any, features_TF: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The log-probabilities (S, V) of ``size``, whose graph ``session`` has."""
    inputs = {"x": features_TF[None], "x_lens": np.array([len(features_TF)])}
    if folder.is_on_demand:
        inputs["kept"] = np.array(size.kept)
    log_probs_1SV, (length,) = session.run(OUTPUTS, inputs)
    found: NDArray[np.float32] = log_probs_1SV[0, :length]
    return found


def check_rounding(folder: ExportFolder, size: Size, session: Any, threads: int) -> None:
    """Compare rounded weights with those in float32, if the folder has them, on a second of noise.

    Raises:
        UserError: They compute something else on this device.
    """
    if size.difference is None or size.exact_file is None or not (folder.folder / size.exact_file).is_file():
        return
    noise_TF = np.random.default_rng(0).normal(-8, 3, (FRAMES_PER_SECOND, NUM_BANDS)).astype(np.float32)
    exact = open_graph(folder, replace(size, file=size.exact_file), threads)
    rounded_SV, exact_SV = (run_graph(folder, size, one, noise_TF) for one in (session, exact))
    if is_wrong(difference := float(np.abs(rounded_SV - exact_SV).max()), size.difference):
        raise UserError(
            f"'{folder.folder / size.file}' must not be used here: its log-probabilities differ by "
            f"{difference:.3g} from those in float32, where it was exported by {size.difference:.2g}. "
            "Another release of onnxruntime may compute it right, `precision` float32 does."
        )


def _arrays(nodes: Iterable[Any]) -> Mapping[str, _Array]:
    return {
        node.name: _Array(node.type, tuple(n if isinstance(n, int) else None for n in node.shape))
        for node in nodes
    }
