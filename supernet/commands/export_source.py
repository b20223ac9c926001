"""The network and the subnets that ``export`` is asked for."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from supernet.commands.checkpoint import run_of
from supernet.commands.options import corpus_changes
from supernet.encoder_family import family_of
from supernet.export.coreml import CoreML
from supernet.export.eager import Torch
from supernet.export.executorch import ExecuTorch
from supernet.export.formats import Format
from supernet.export.huggingface import HuggingFace
from supernet.export.kinds import kind_of
from supernet.export.one_utterance import WIDTHS, Limited
from supernet.export.onnx import Onnx
from supernet.network.huggingface.library_model import library_problem
from supernet.network.supernet_ctc import SupernetCTC
from supernet.pretrained.places import is_checkpoint
from supernet.recognition.streaming.chunk_option import chunking_of
from supernet.runs.cut_model import origin_of
from supernet.runs.model_file import Model
from supernet.runs.opening import load_with_subnets, open_run
from supernet.runs.run import Run, RunError
from supernet.runs.selection_file import Selection

FORMATS: dict[str, type[Format]] = {
    "sherpa-onnx": Onnx,
    "onnx": Onnx,  # the same file: onnxruntime ignores what sherpa-onnx needs
    "torch": Torch,
    "executorch": ExecuTorch,
    "coreml": CoreML,
    "huggingface": HuggingFace,
}


@dataclass(frozen=True)
class Source:
    """The network and the subnets to export."""

    run: Run
    model: Model
    selection: Selection
    origin: dict[str, str]
    """The provenance of all cuts."""

    @classmethod
    def open(cls, args: argparse.Namespace) -> Source:
        run = _run(args)
        model, selection = load_with_subnets(run, args.selection, args.granularity)
        check_network(args.format, run, model.recognizer)
        if args.chunk is not None:
            chunking_of(model.recognizer, args.chunk)
        return cls(run, model, selection, origin_of(run, selection))


def _run(args: argparse.Namespace) -> Run:
    """The run to export from: of a checkpoint, one for ``--task``, or without it the checkpoint itself."""
    if not is_checkpoint(args.run) or args.task is not None:
        return run_of(args, corpus_changes(args.settings))
    if not args.unchecked:
        raise RunError(
            f"`--task` must name the corpus to compare the transcripts of '{args.run}' on, but is not given. "
            "`--unchecked` compares log-probabilities only."
        )
    if args.out is None:
        raise RunError(f"`--out` must name a folder for the export of '{args.run}', but is not given.")
    return open_run(args.run)


def check_network(format: str, run: Run, recognizer: SupernetCTC) -> None:
    """Raise ``RunError`` if ``format`` cannot hold the network of ``run``."""
    recognizer.require_framewise("An export")
    if FORMATS[format] is Torch:
        return
    if FORMATS[format] is HuggingFace:
        if problem := library_problem(recognizer):
            raise RunError(
                f"`--format` huggingface must have a network with {problem}. `--format torch` writes "
                f"'{run.folder}' for PyTorch, `--format onnx` for onnxruntime."
            )
        return
    encoder, family = recognizer.config.model.encoder.name, family_of(recognizer.config.model)
    is_other = issubclass(FORMATS[format], Limited) and family.input not in WIDTHS
    if is_other or not family.exports:
        raise RunError(
            f"`--format` must be one that has the encoder '{encoder}' of '{run.folder}', but is {format} "
            "instead. `--format torch` writes it for PyTorch."
        )
    if format == "sherpa-onnx" and (problem := kind_of(recognizer).problem(recognizer)):
        raise RunError(
            f"`--format` sherpa-onnx must have {problem}. `--format onnx` writes '{run.folder}' for "
            "onnxruntime."
        )
