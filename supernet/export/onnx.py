"""ONNX: one file for sherpa-onnx (see ``kinds``) and plain onnxruntime alike.

sherpa-onnx asks for the inputs and outputs in this order, the lengths in int64; metadata are for some of its
kinds, its older releases, and for people.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supernet.export.formats import Format, Runtime, Written, quiet
from supernet.export.graph import Graph
from supernet.export.kinds import kind_of, subsampling
from supernet.export.onnx_graph import LENGTHS, Session, give_default, quantize, save, trace
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.cut_model import Cut
from supernet.runtime.precision import FULL, Precision, suffix
from supernet.text.tokens import Tokens

_EVERYTHING = 1 << 40
"""More frames than any input has; the graph reduces lengths to those of the input."""


class Onnx(Format):
    """``model.onnx``, optionally ``model.int8.onnx`` and ``model.int4.onnx``, and ``tokens.txt``.

    For pieces, also ``bpe.model`` and ``bpe.vocab``, which split hotwords.
    """

    name = "sherpa-onnx"
    extra = "export"
    packages = ("onnx", "onnxscript", "onnxruntime")
    rounds = True

    def write(self, cut: Cut, folder: Path, rounded: Collection[Precision] = ()) -> list[Written]:
        written = [
            Written(folder / f"model{suffix(precision)}.onnx", precision) for precision in (FULL, *rounded)
        ]
        with quiet():
            _export(cut, written[0].file)
            for one in written[1:]:
                quantize(written[0].file, one.file, one.precision)
        save_tokens(cut.model.tokens, folder)
        return written

    def open(self, file: Path) -> Runtime:
        return Session(file)


def save_tokens(tokens: Tokens, folder: Path) -> None:
    """Write the files of ``Onnx`` that give the meaning of token ids."""
    sherpa_tokens(tokens).save(folder / "tokens.txt")
    if tokens.kind == "pieces":
        lines = (f"{piece}\t{score}\n" for piece, score in tokens.scores())
        (folder / "bpe.vocab").write_text("".join(lines), encoding="utf-8")


def sherpa_tokens(tokens: Tokens) -> Tokens:
    """The symbols for sherpa-onnx, which concatenates them and reads ▁ as a space."""
    if tokens.kind != "words":
        return tokens
    blank, *words = tokens.symbols
    return Tokens((blank, *(f"▁{word}" for word in words)), tokens.kind)


def _export(cut: Cut, file: Path) -> None:
    recognizer = cut.model.recognizer
    save(traced(Graph(recognizer), recognizer, {}, ()), metadata(cut), file)


def traced(graph: Graph, recognizer: SupernetCTC, more: Mapping[str, Tensor], marks: Sequence[str]) -> Any:
    """The ONNX graph of ``graph``, which has ``recognizer``; ``more`` are further inputs of fixed shapes, and
    ``marks`` names its further outputs.
    """
    kind, dynamic = kind_of(recognizer), torch.export.Dim.DYNAMIC
    inputs = dict(zip(kind.inputs, kind.example(recognizer), strict=True))
    shapes = ({0: dynamic, kind.time: dynamic}, {0: dynamic}, *({} for _ in more))
    with quiet():
        proto = trace(graph, {**inputs, **more}, [kind.output, LENGTHS, *marks], shapes)
    if kind.default_lengths:
        give_default(proto, kind.inputs[1], torch.tensor([_EVERYTHING]))
    return proto


def metadata(cut: Cut) -> dict[str, str]:
    """The keys of sherpa-onnx, and a description of the model."""
    about = {"size": str(cut.subnet.size), "granularity": cut.subnet.granularity}
    about |= {"kept": " ".join(cut.subnet.kept), "provenance": json.dumps(cut.provenance)}
    return {**for_sherpa(cut.model.recognizer, cut.model.tokens), **about}


def for_sherpa(recognizer: SupernetCTC, tokens: Tokens) -> dict[str, str]:
    """The metadata that sherpa-onnx reads."""
    return {
        **kind_of(recognizer).metadata(recognizer),
        "input": recognizer.input.name,
        "version": "1",
        "vocab_size": str(len(tokens)),
        "tokens": tokens.kind,
        "subsampling_factor": str(subsampling(recognizer)),
    }
