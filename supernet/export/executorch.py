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

import torch

from supernet.errors import ArgumentError
from supernet.export.bundle import Bundle
from supernet.export.formats import Format, Runtime, Written, quiet
from supernet.export.kinds import kind_of
from supernet.export.one_utterance import WIDTHS, Limited, OneByOne, exported, facts_of, name_of
from supernet.runs.cut_model import Cut
from supernet.runtime.precision import Precision

_FORWARD, _METADATA = "forward", "metadata"
"""The method of a program of one size, and that which returns its metadata as JSON."""


class ExecuTorch(Limited, Format):
    """``model.pte`` and ``tokens.txt``.

    The inputs are those of the ONNX file, see ``kinds``, of one utterance: ``x``, such as (1, T, 80), padded
    with anything to a T of ``WIDTHS``, and the length (1,). The method ``metadata`` returns JSON with
    ``input``, ``step`` and ``rest`` (T must be a multiple of ``step`` plus ``rest``), ``max_seconds``, and
    what ONNX files have.
    """

    name = "executorch"
    extra = "executorch"
    packages = ("executorch",)

    def write(self, cut: Cut, folder: Path, rounded: Collection[Precision] = ()) -> list[Written]:
        file = folder / "model.pte"
        with quiet():
            file.write_bytes(_program({_FORWARD: cut}, self.max_seconds))
        cut.model.tokens.save(folder / "tokens.txt")
        return [Written(file)]

    def open(self, file: Path) -> Runtime:
        return _open(file, _FORWARD)


class SharedExecuTorch(Limited, Bundle):
    """``model.pte`` with a method for each size, and ``tokens.txt``.

    The methods are named after the sizes or budgets, such as ``size_6`` or ``size_macs_50_``, have the inputs
    of ``ExecuTorch``, and share the weights of the units that they have in common.
    """

    name = ExecuTorch.name

    def write(self, folder: Path, rounded: Collection[Precision] = ()) -> list[list[Written]]:
        file = folder / "model.pte"
        with quiet():
            file.write_bytes(_program({name_of(cut): cut for cut in self.cuts}, self.max_seconds))
        self.model.tokens.save(folder / "tokens.txt")
        return [[Written(file)] for _ in self.cuts]

    def open(self, file: Path, cut: Cut) -> Runtime:
        return _open(file, name_of(cut))

    def describe(self, files: Sequence[Path], sizes: Sequence[Mapping[str, Any]]) -> None:
        """Do nothing: the metadata of a program are part of it and cannot be changed."""


def _program(cuts: Mapping[str, Cut], max_seconds: int) -> bytes:
    """A program with a method for each of ``cuts``; equal weights are stored once."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    _find_compiler()
    network = next(iter(cuts.values())).model.recognizer
    methods = {name: exported(cut, max_seconds) for name, cut in cuts.items()}
    # The choice between implementations of convolutions on this machine would limit the length.
    with torch.backends.mkldnn.flags(enabled=False):
        program = to_edge_transform_and_lower(
            methods,
            partitioner=[XnnpackPartitioner()],
            constant_methods={_METADATA: json.dumps(facts_of(network, max_seconds))},
        ).to_executorch()
    time, widths = kind_of(network).time, WIDTHS[network.input.name]
    for plan in program.executorch_program.execution_plan:
        if plan.name not in cuts:
            continue
        most: int = plan.values[plan.inputs[0]].val.sizes[time]
        if most < widths.width(max_seconds * widths.rate):
            raise ArgumentError(
                ["format"],
                f"`format` executorch must plan memory for {max_seconds} s, but does so for "
                f"{most / widths.rate:.1f} s only. The format onnx has no limit.",
            )
    return bytes(program.buffer)


def _find_compiler() -> None:
    """Let ExecuTorch find its own ``flatc``, which need not be on the path."""
    os.environ.setdefault("FLATC_EXECUTABLE", str(resources.files("executorch.data.bin") / "flatc"))


def _open(file: Path, name: str) -> Runtime:
    """A method of a file, run by ExecuTorch's runtime."""
    from executorch.runtime import Runtime as Engine

    program: Any = Engine.get().load_program(file)
    method = program.load_method(name)
    (text,) = program.load_method(_METADATA).execute([])
    return OneByOne(lambda x, length: method.execute([x, length]), json.loads(text))
