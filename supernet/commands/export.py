"""Export sizes of a trained run to other runtimes."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from supernet.commands.options import corpus_changes
from supernet.console.fitted import Fitted
from supernet.console.front import command, program, say_next
from supernet.console.option_names import option_problems
from supernet.console.progress import progress
from supernet.console.screen import console
from supernet.encoder_family import family_of
from supernet.errors import ConfigError
from supernet.export.acceptance import FileCheck
from supernet.export.eager import Torch
from supernet.export.executorch import ExecuTorch
from supernet.export.export import Examiner, NotAccepted, export
from supernet.export.folders import check_free
from supernet.export.formats import Format
from supernet.export.onnx import Onnx
from supernet.runs.cut_model import Cut, origin_of
from supernet.runs.model_file import Model
from supernet.runs.opening import choose, granularity_of, load_any, open_run, open_selection
from supernet.runs.resolve import resolve_trained
from supernet.runs.run import Run, RunError
from supernet.runs.selection_file import Choice, Selection
from supernet.settings.presets import Data
from supernet.task import Batch, ProgressCallback, Task, TaskError

FORMATS: dict[str, type[Format]] = {
    "sherpa-onnx": Onnx,
    "onnx": Onnx,  # the same file: onnxruntime ignores what sherpa-onnx needs
    "torch": Torch,
    "executorch": ExecuTorch,
}


def export_sizes(args: argparse.Namespace) -> list[str]:
    """Run the command ``export``; returns its failures, one line each."""
    _check(args)
    return _export_all(args)


def _check(args: argparse.Namespace) -> None:
    if args.all and args.size is not None:
        raise RunError(f"`--all` must be given without `--size`, but is given with `--size {args.size}`.")
    if args.int8_margin < 0:
        raise RunError(f"`--int8-margin` must be at least 0 points, but is {args.int8_margin:g} instead.")
    FORMATS[args.format]().check(args.int8)


def _export_all(args: argparse.Namespace) -> list[str]:
    """Export the requested sizes; returns the failures, one line each."""
    run = open_run(args.run)
    model = load_any(run, granularity_of(args.selection))
    if not family_of(model.recognizer.config.model).exports:
        raise RunError(
            f"`RUN` must hold a network that reads log-mel features, but that of '{run.folder}' has the "
            f"encoder '{model.recognizer.config.model.encoder.name}', which no export format supports. "
            f"`{program('cut')}` writes it for PyTorch."
        )
    model.recognizer.require_framewise("An export")
    selection = open_selection(run, model, args.selection)
    choices = selection.choices if args.all else (choose(selection, args.size),)
    folders = {choice: _folder(run, args, selection, choice) for choice in choices}
    for folder in folders.values():
        check_free(folder, args.force)
    changes = corpus_changes(args.settings)
    origin = origin_of(run, selection)
    table, problems, written = _table(run, args.unchecked), list[str](), dict[Choice, Path]()
    with progress() as report:
        batches = None if args.unchecked else _test_split(run, model, changes, report)
        examiner = Examiner(batches, args.int8_margin / 100, report)
        for i, (choice, folder) in enumerate(folders.items()):
            report("exporting", i, len(folders))
            cut = Cut.of(model, choice, origin)
            try:
                checks = export(cut, FORMATS[args.format](), folder, args.int8, examiner)
            except NotAccepted as e:
                checks = e.checks
                (problem,) = option_problems(e)
                problems.append(f"{choice.budget}: {problem}. '{folder}' was not written.")
            else:
                written[choice] = folder
            _add_rows(table, choice, checks)
    console.print(table)
    for choice, folder in written.items():
        console.print(f"{choice.budget}: {folder}")
    if written:
        _say_what_next(args, next(iter(written.values())))
    return problems


RECOGNIZE = (
    "import sherpa_onnx, soundfile; "
    "r = sherpa_onnx.OfflineRecognizer.from_zipformer_ctc(model={model!r}, tokens={tokens!r}); "
    "s = r.create_stream(); a, rate = soundfile.read('speech.wav', dtype='float32'); "
    "s.accept_waveform(rate, a); r.decode_stream(s); print(s.result.text)"
)
"""A program that uses an export as a phone does."""


def _say_what_next(args: argparse.Namespace, folder: Path) -> None:
    suggestions = [(command("latency", args.run), "its latency on this machine")]
    if FORMATS[args.format] is Onnx:
        files = {"model": f"{folder}/model{'.int8' * args.int8}.onnx", "tokens": f"{folder}/tokens.txt"}
        suggestions.append((f"python -c {shlex.quote(RECOGNIZE.format(**files))}", ""))
    say_next(*suggestions)


def _folder(run: Run, args: argparse.Namespace, selection: Selection, choice: Choice) -> Path:
    label = choice.budget if args.selection is None else f"{selection.strategy}-{choice.budget}"
    if args.out is None:
        return run.export_folder(label)
    return Path(args.out / label if args.all else args.out)


def _test_split(run: Run, model: Model, changes: Sequence[Data], report: ProgressCallback) -> Iterable[Batch]:
    """Batches of the task's test split."""
    try:
        task: Task = resolve_trained(run.config_data(), *changes).task
        task.prepare_for(["test"], model.tokens, report)
        return task.eval_batches("test", model.tokens)
    except (ConfigError, TaskError) as e:
        raise RunError(
            f"the test split of '{run.folder}' must be available to compare its transcripts, but is not: "
            f"{'; '.join(str(e).splitlines())} `--set task.path=PATH` says where it is now; `--unchecked` "
            "compares log-probabilities only, and the export records that."
        ) from None


def _table(run: Run, unchecked: bool) -> Fitted:
    caption = "Unchecked: transcripts of the test split were not compared."
    table = Fitted(f"{run.name}, exported", caption * unchecked, boxed=True)
    table.add_column("size")
    table.add_column("file", left=True)
    for name in ("MB", "difference", "test errors", "of the cut model", "different texts"):
        table.add_column(name)
    return table


def _add_rows(table: Fitted, choice: Choice, checks: list[FileCheck]) -> None:
    for v in checks:
        table.add_row(
            choice.budget,
            v.file,
            f"{v.num_bytes / 1e6:.2f}",
            f"{v.difference:.1g}",
            _rate(v.rate),
            _rate(v.cut_rate),
            "–" if v.texts_that_differ is None else str(v.texts_that_differ),
        )


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"
