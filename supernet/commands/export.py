"""Export sizes of a trained run to other runtimes."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from supernet.commands.card import made_by, sherpa_program, write_card
from supernet.commands.export_source import FORMATS, Source
from supernet.commands.options import corpus_changes
from supernet.console.fitted import Fitted
from supernet.console.front import command, say_next
from supernet.console.option_names import option_problems
from supernet.console.progress import progress
from supernet.console.screen import console
from supernet.console.text import note
from supernet.errors import ConfigError
from supernet.export.acceptance import FileCheck
from supernet.export.bundle import Bundle, SizesNotAccepted, export_bundle
from supernet.export.coreml import RUNS_HERE, CoreML, SharedCoreML
from supernet.export.executorch import ExecuTorch, SharedExecuTorch
from supernet.export.export import Examiner, NotAccepted, export
from supernet.export.folders import check_free
from supernet.export.formats import Format, num_bytes
from supernet.export.huggingface import HuggingFace
from supernet.export.kinds import LogMel, kind_of
from supernet.export.on_demand import OnDemand
from supernet.export.one_utterance import Limited
from supernet.export.onnx import Onnx
from supernet.export.shared import Shared
from supernet.export.streaming_onnx import StreamingOnnx
from supernet.network.supernet_ctc import SupernetCTC
from supernet.pretrained.places import is_checkpoint
from supernet.recognition.streaming.chunk_option import chunking_of
from supernet.runs.confidence_file import stored_confidences
from supernet.runs.cut_model import Cut
from supernet.runs.model_file import Model
from supernet.runs.opening import choose
from supernet.runs.resolve import resolve_trained
from supernet.runs.run import Run, RunError
from supernet.runs.selection_file import Choice, Selection
from supernet.runtime.precision import FULL, ROUNDED, Precision, suffix
from supernet.settings.presets import Data
from supernet.task import Batch, ProgressCallback, Task, TaskError

BUNDLES: dict[tuple[str, type[Format]], type[Bundle]] = {
    ("shared", Onnx): Shared,
    ("shared", ExecuTorch): SharedExecuTorch,
    ("shared", CoreML): SharedCoreML,
    ("on-demand", Onnx): OnDemand,
}


def export_sizes(args: argparse.Namespace) -> list[str]:
    """Run the command ``export``; returns its failures, one line each."""
    _check(args)
    source = Source.open(args)
    return _export_bundle(args, source) if args.bundle else _export_separately(args, source)


def _check(args: argparse.Namespace) -> None:
    option = args.bundle or ("all" if args.all else None)
    if option is not None and args.size is not None:
        raise RunError(
            f"`--{option}` must be given without `--size`, but is given with `--size {args.size}`."
        )
    if args.int8_margin < 0:
        raise RunError(f"`--int8-margin` must be at least 0 points, but is {args.int8_margin:g} instead.")
    if args.bundle and (args.bundle, FORMATS[args.format]) not in BUNDLES:
        known = " or ".join(["sherpa-onnx", *["executorch", "coreml"] * (args.bundle == "shared")])
        raise RunError(
            f"`--{args.bundle}` must go with `--format` {known}, but goes with {args.format} instead."
        )
    if args.chunk is not None and (args.bundle or FORMATS[args.format] is not Onnx):
        other = f"--{args.bundle}" if args.bundle else f"--format {args.format}"
        raise RunError(f"`--chunk` must go with `--format` sherpa-onnx, but goes with {other} instead.")
    if args.max_seconds is not None and not issubclass(FORMATS[args.format], Limited):
        raise RunError(
            "`--max-seconds` must go with `--format` executorch or coreml, but goes with "
            f"{args.format} instead."
        )
    FORMATS[args.format]().check(_rounded(args))


def _rounded(args: argparse.Namespace) -> list[Precision]:
    return [precision for precision in ROUNDED if getattr(args, precision)]


def _export_separately(args: argparse.Namespace, source: Source) -> list[str]:
    """Export each of the requested sizes to a folder of its own; returns the failures, one line each."""
    run, model, selection = source.run, source.model, source.selection
    choices = selection.choices if args.all else (choose(selection, args.size),)
    folders = {choice: _folder(run, args, selection, choice) for choice in choices}
    for folder in folders.values():
        check_free(folder, args.force)
    table, problems, written = _table(run, args.unchecked), list[str](), dict[Choice, Path]()
    format = _format(args, model.recognizer)
    with progress() as report:
        examiner = _examiner(args, source, report)
        for i, (choice, folder) in enumerate(folders.items()):
            report("exporting", i, len(folders))
            cut = Cut.of(model, choice, source.origin)
            try:
                checks = export(cut, format, folder, _rounded(args), examiner)
            except NotAccepted as e:
                checks = e.checks
                (problem,) = option_problems(e)
                problems.append(f"{choice.budget}: {problem}. '{folder}' was not written.")
            else:
                written[choice] = folder
                _write_card(args, run, [(cut, checks)], folder)
            _add_rows(table, choice.budget, checks)
    console.print(table)
    _say_what_was_not_run(args)
    for choice, folder in written.items():
        console.print(f"{choice.budget}: {folder}")
    if written:
        _say_what_next(args, next(iter(written.values())), "model", model.recognizer)
    return problems


def _format(args: argparse.Namespace, recognizer: SupernetCTC) -> Format:
    if args.chunk is not None:
        return StreamingOnnx(chunking_of(recognizer, args.chunk))
    format = FORMATS[args.format]()
    _limit(args, format)
    return format


def _limit(args: argparse.Namespace, target: Format | Bundle) -> None:
    if isinstance(target, Limited) and args.max_seconds is not None:
        target.max_seconds = args.max_seconds


def _export_bundle(args: argparse.Namespace, source: Source) -> list[str]:
    """Export all sizes to one folder; returns the failures, one line each."""
    label = args.bundle if args.selection is None else f"{source.selection.strategy}-{args.bundle}"
    folder = args.out or source.run.export_folder(label)
    check_free(folder, args.force)
    table, problems = _table(source.run, args.unchecked), list[str]()
    cuts = [Cut.of(source.model, choice, source.origin) for choice in source.selection.choices]
    with progress() as report:
        examiner = _examiner(args, source, report)
        bundle = BUNDLES[args.bundle, FORMATS[args.format]](source.model, cuts)
        _limit(args, bundle)
        try:
            confidence = stored_confidences(source.run, source.selection) or None
            verified = export_bundle(bundle, folder, _rounded(args), examiner, confidence)
        except SizesNotAccepted as e:
            verified = list(e.verified)
            problems = [f"{problem}. '{folder}' was not written." for problem in option_problems(e)]
    for size in verified:
        _add_rows(table, size.budget, size.checks)
    console.print(table)
    if source.model.recognizer.table.divided and args.bundle == "on-demand":
        note(
            "with `--on-demand`, a module is computed in full if any of its components is kept; exports "
            "without it are narrower and faster."
        )
    _say_what_was_not_run(args)
    if not problems:
        console.print(f"{folder}: {_megabytes(folder)}")
        _write_card(args, source.run, [(size.cut, size.checks) for size in verified], folder)
        stem = source.selection.choice().budget if args.bundle == "shared" else None
        _say_what_next(args, folder, stem, source.model.recognizer)
    return problems


def _write_card(
    args: argparse.Namespace, run: Run, cuts: Sequence[tuple[Cut, Sequence[FileCheck]]], folder: Path
) -> None:
    """Describe the exported ``cuts`` in ``folder``."""
    network, usage = cuts[0][0].model.recognizer, None
    if FORMATS[args.format] is Onnx and args.bundle is None:
        program = sherpa_program(network, "model.onnx", "tokens.txt", args.chunk)
        usage = None if program is None else program.replace("; ", "\n")
    write_card(run, cuts, folder, made_by("export", args.words), args.bundle or args.format, usage)


def _say_what_was_not_run(args: argparse.Namespace) -> None:
    if FORMATS[args.format] is CoreML and not RUNS_HERE:
        note(
            "Core ML runs on Apple's systems only. The operations of the package were evaluated in PyTorch "
            "instead; try it on a device."
        )


def _megabytes(folder: Path) -> str:
    """The sizes of the files that programs need, and of the weights among them."""
    files = {file.name: num_bytes(file) / 1e6 for file in sorted(folder.iterdir())}
    weights = ", ".join(f"{name} {size:.2f}" for name, size in files.items() if name.endswith(".bin"))
    return f"{sum(files.values()):.2f} MB" + f" ({weights})" * bool(weights)


def _examiner(args: argparse.Namespace, source: Source, report: ProgressCallback) -> Examiner:
    changes = corpus_changes(args.settings)
    batches = None if args.unchecked else _test_split(source.run, source.model, changes, report)
    return Examiner(batches, args.int8_margin / 100, report)


def _say_what_next(args: argparse.Namespace, folder: Path, stem: str | None, recognizer: SupernetCTC) -> None:
    """Suggest commands for an export, of which sherpa-onnx opens the graph ``stem`` if it is not None."""
    suggestions = list[tuple[str, str]]()
    if not is_checkpoint(args.run):
        suggestions.append((command("latency", args.run), "its latency on this machine"))
        is_page = args.bundle and FORMATS[args.format] is Onnx
        if is_page and isinstance(kind_of(recognizer), LogMel):
            page = command("demo", args.run, "--export", folder)
            suggestions.append((page, "a page to try all sizes in a browser"))
    if FORMATS[args.format] is Onnx and stem is not None:
        end = suffix((FULL, *_rounded(args))[-1])
        model, tokens = f"{folder}/{stem}{end}.onnx", f"{folder}/tokens.txt"
        if (program := sherpa_program(recognizer, model, tokens, args.chunk)) is not None:
            suggestions.append((f"python -c {shlex.quote(program)}", ""))
    if suggestions:
        say_next(*suggestions)


def _folder(run: Run, args: argparse.Namespace, selection: Selection, choice: Choice) -> Path:
    label = choice.budget if args.selection is None else f"{selection.strategy}-{choice.budget}"
    label += "-streaming" * (args.chunk is not None)
    label += "-huggingface" * (FORMATS[args.format] is HuggingFace)
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


def _add_rows(table: Fitted, label: str, checks: list[FileCheck]) -> None:
    for v in checks:
        table.add_row(
            label,
            v.file,
            f"{v.num_bytes / 1e6:.2f}",
            f"{v.difference:.1g}",
            _rate(v.rate),
            _rate(v.cut_rate),
            "–" if v.texts_that_differ is None else str(v.texts_that_differ),
        )


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"
