"""Core ML: a package for iPhones, iPads and Macs.

It processes one utterance at a time, of any length up to a limit. The network is computed in float32.

Shapes: T frames of the network's input, S stream frames, V tokens.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from supernet.export.bundle import Bundle
from supernet.export.formats import Format, Runtime, Written, quiet
from supernet.export.ml_program import MLProgram, unknown
from supernet.export.one_utterance import Limited, OneByOne, exported, facts_of, name_of
from supernet.runs.cut_model import Cut
from supernet.runtime.precision import Precision

PACKAGE = "model.mlpackage"
OUTPUTS = ("log_probs", "log_probs_len")
RUNS_HERE = sys.platform == "darwin"
"""Whether this system has Core ML."""
_MAIN = "main"
"""The function of a package of one size."""
_FACTS, _SIZES = "facts", "sizes"
"""The metadata of a package: those of ``facts_of``, and the facts about its sizes, both JSON."""


class CoreML(Limited, Format):
    """``model.mlpackage`` and ``tokens.txt``.

    The inputs are those of the ONNX file, see ``kinds``, of one utterance: ``x``, such as (1, T, 80), padded
    with anything to a T of ``WIDTHS``, and the length ``x_lens`` (1,). The outputs are log-probabilities
    (1, S, V) and their length. The metadata has JSON under ``facts``, with ``input``, ``step`` and ``rest``
    (T must be a multiple of ``step`` plus ``rest``), and ``max_seconds``.
    """

    name = "coreml"
    extra = "coreml"
    packages = ("coremltools",)

    def write(self, cut: Cut, folder: Path, rounded: Collection[Precision] = ()) -> list[Written]:
        _convert(cut, folder / PACKAGE, self.max_seconds)
        _note(folder / PACKAGE, _FACTS, facts_of(cut.model.recognizer, self.max_seconds))
        cut.model.tokens.save(folder / "tokens.txt")
        return [Written(folder / PACKAGE)]

    def open(self, file: Path) -> Runtime:
        return _open(file, _MAIN)


class SharedCoreML(Limited, Bundle):
    """``model.mlpackage`` with a function for each size, and ``tokens.txt``.

    The functions are named after the sizes or budgets, such as ``size_6`` or ``size_macs_50_``, have the
    inputs of ``CoreML``, and share the weights of the units that they have in common. The largest is the
    default. Needs iOS 18 or macOS 15.
    """

    name = CoreML.name

    def write(self, folder: Path, rounded: Collection[Precision] = ()) -> list[list[Written]]:
        package = folder / PACKAGE
        with tempfile.TemporaryDirectory() as place, _silent():
            import coremltools

            parts = coremltools.utils.MultiFunctionDescriptor()
            for cut in self.cuts:
                part = Path(place, f"{name_of(cut)}.mlpackage")
                _convert(cut, part, self.max_seconds)
                parts.add_function(str(part), src_function_name=_MAIN, target_function_name=name_of(cut))
            parts.default_function_name = name_of(max(self.cuts, key=lambda cut: cut.subnet.size))
            coremltools.utils.save_multifunction(parts, str(package))
        _note(package, _FACTS, facts_of(self.model.recognizer, self.max_seconds))
        self.model.tokens.save(folder / "tokens.txt")
        return [[Written(package)] for _ in self.cuts]

    def open(self, file: Path, cut: Cut) -> Runtime:
        return _open(file, name_of(cut))

    def describe(self, files: Sequence[Path], sizes: Sequence[Mapping[str, Any]]) -> None:
        """Store the facts about the sizes in the package's metadata, under ``sizes``."""
        for package in {*files}:
            _note(package, _SIZES, sizes)


def _convert(cut: Cut, package: Path, max_seconds: int) -> None:
    """Write the cut model as a package with one function."""
    with _silent():
        import coremltools

        program = exported(cut, max_seconds).run_decompositions(
            {torch.ops.aten.zeros_like.default: _zeros_like}
        )
        try:
            model = coremltools.convert(
                program,
                outputs=[
                    coremltools.TensorType(OUTPUTS[0]),
                    coremltools.TensorType(OUTPUTS[1], dtype=np.int32),
                ],
                convert_to="mlprogram",
                minimum_deployment_target=coremltools.target.iOS18,
                compute_precision=coremltools.precision.FLOAT32,
                skip_model_load=True,
            )
        except NotImplementedError as e:
            raise unknown(f"what coremltools does not translate ({e})") from None
        model.save(str(package))


def _note(package: Path, name: str, facts: Any) -> None:
    """Store ``facts`` as JSON in the metadata of a package."""
    import coremltools

    file = package / "Data/com.apple.CoreML/model.mlmodel"
    specification = coremltools.utils.load_spec(str(file))
    specification.description.metadata.userDefined[name] = json.dumps(facts)
    file.write_bytes(specification.SerializeToString())


def _zeros_like(x: Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    """As PyTorch's, in operations that coremltools 9.0 translates: of this one, it ignores the ``dtype``."""
    return x.to(x.dtype if dtype is None else dtype) * 0


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Silence coremltools: its advice, its warnings to its own authors, and its progress bars."""
    with quiet(), warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _open(package: Path, name: str) -> Runtime:
    """A function of a package, run by Core ML where it is, else by an interpreter of its operations."""
    import coremltools

    facts = coremltools.utils.load_spec(str(package)).description.metadata.userDefined[_FACTS]
    function = _CoreMLFunction(package, name) if RUNS_HERE else MLProgram(package, name)
    return OneByOne(lambda x, length: function(x=x, x_lens=length.int()), json.loads(facts))


class _CoreMLFunction:
    """A function of a package, run by Core ML."""

    def __init__(self, package: Path, name: str) -> None:
        import coremltools

        self._model: Any = coremltools.models.MLModel(
            str(package),
            function_name=None if name == _MAIN else name,
            compute_units=coremltools.ComputeUnit.CPU_ONLY,
        )

    def __call__(self, **inputs: Tensor) -> list[Tensor]:
        found = self._model.predict({name: value.numpy() for name, value in inputs.items()})
        return [torch.from_numpy(found[name]) for name in OUTPUTS]
