"""ExecuTorch: one file for phones and boards without Python, on the XNNPACK backend.

It processes one utterance at a time, of any length up to a limit, since memory is planned at export.

Shapes: T frames of the network's input.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from supernet.export.bundle import Bundle
from supernet.export.formats import Format, Runtime, Written, quiet
from supernet.export.one_utterance import OneByOne, exported, facts_of, name_of
from supernet.runs.cut_model import Cut
from supernet.runtime.precision import Precision

_FORWARD, _METADATA = "forward", "metadata"
"""The method of a program of one size, and that which returns its metadata as JSON."""


class ExecuTorch(Format):
    """``model.pte`` and ``tokens.txt``.

    The inputs are those of the ONNX file, see ``kinds``, of one utterance: ``x``, such as (1, T, 80), padded
    with anything to a T of ``WIDTHS``, and the length (1,). The method ``metadata`` returns JSON with
    ``input``, ``step`` and ``rest`` (T must be a multiple of ``step`` plus ``rest``), and what ONNX files
    have.
    """

    name = "executorch"
    extra = "executorch"
    packages = ("executorch",)

    def write(self, cut: Cut, folder: Path, rounded: Collection[Precision] = ()) -> list[Written]:
        file = folder / "model.pte"
        with quiet():
            file.write_bytes(_program({_FORWARD: cut}))
        cut.model.tokens.save(folder / "tokens.txt")
        return [Written(file)]

    def open(self, file: Path) -> Runtime:
        return _open(file, _FORWARD)


class SharedExecuTorch(Bundle):
    """``model.pte`` with a method for each size, and ``tokens.txt``.

    The methods are named after the sizes or budgets, such as ``size_6`` or ``size_macs_50_``, have the inputs
    of ``ExecuTorch``, and share the weights of the units that they have in common.
    """

    name = ExecuTorch.name

    def write(self, folder: Path, rounded: Collection[Precision] = ()) -> list[list[Written]]:
        file = folder / "model.pte"
        with quiet():
            file.write_bytes(_program({name_of(cut): cut for cut in self.cuts}))
        self.model.tokens.save(folder / "tokens.txt")
        return [[Written(file)] for _ in self.cuts]

    def open(self, file: Path, cut: Cut) -> Runtime:
        return _open(file, name_of(cut))

    def describe(self, files: Sequence[Path], sizes: Sequence[Mapping[str, Any]]) -> None:
        """Do nothing: a program has no metadata."""


def _program(cuts: Mapping[str, Cut]) -> bytes:
    """A program with a method for each of ``cuts``; equal weights are stored once."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    _find_compiler()
    network = next(iter(cuts.values())).model.recognizer
    lowered = to_edge_transform_and_lower(
        {name: exported(cut) for name, cut in cuts.items()},
        partitioner=[XnnpackPartitioner()],
        constant_methods={_METADATA: json.dumps(facts_of(network))},
    )
    return bytes(lowered.to_executorch().buffer)


def _find_compiler() -> None:
    """Let ExecuTorch find its own ``flatc``, which need not be on the path."""
    os.environ.setdefault("FLATC_EXECUTABLE", str(resources.files("executorch.data.bin") / "flatc"))


def _open(file: Path, name: str) -> Runtime:
    """A method of a file, run by ExecuTorch's runtime."""
    from executorch.runtime import Runtime as Engine

    program: Any = Engine.get().load_program(file)
    method = program.load_method(name)
    (text,) = program.load_method(_METADATA).execute([])
    return OneByOne(lambda x, length: method.execute([x, length]), json.loads(text), ExecuTorch.name)
