"""Measure the latency and memory of each size on this machine."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from supernet.console.fitted import Fitted
from supernet.console.front import command, say_next
from supernet.console.progress import progress
from supernet.console.screen import console
from supernet.console.text import note
from supernet.export.onnx import Onnx
from supernet.latency.exports import fastest_words, save_fastest_of, times_by_export, wrong_ones
from supernet.latency.measure import MEMORY_AT, SECONDS, Subject, measure
from supernet.latency.subjects import of_random, of_run
from supernet.runs.model_file import load
from supernet.runs.opening import open_selection
from supernet.runs.resolve import resolve
from supernet.runs.run import Run, RunError
from supernet.runtime.precision import ROUNDED
from supernet.system.devices import chosen_device
from supernet.system.files import refusal, write_json
from supernet.system.timing import BUSY


def latency(args: argparse.Namespace) -> None:
    """Run the command ``latency`` for a run or a preset."""
    with tempfile.TemporaryDirectory() as place:
        _check(args)
        title, subjects = _subjects(args, Path(place))
        with progress() as report:
            figures = measure(title, subjects, args.threads, args.rounds, report, args.device)
        _save(args, figures)
        times = times_by_export(subjects, figures["rows"])
        if args.run is not None and args.out is None:
            save_fastest_of(times, args.threads, figures["busy"])
    console.print(_table(figures, fastest_words(times) if args.preset is None else ""))
    for wrong in wrong_ones(subjects, figures["rows"]):
        note(wrong)
    if args.run is not None:
        say_next(*suggestions(Run(args.run)))


def suggestions(run: Run) -> list[tuple[str, str]]:
    """Suggestions after a measurement; existing exports have to be replaced."""
    again = ["--force"] * run.exports.is_dir()
    export = command("export", run.folder, "--all", "--int8", *again)
    return [
        (export, "all sizes as files, to measure them as well"),
        (command("select", run.folder, "--budget", "latency=20ms"), "units for a given latency"),
    ]


def _check(args: argparse.Namespace) -> None:
    if (args.run is None) == (args.preset is None):
        raise RunError("either `RUN` or `--preset` must be given, but not both.")
    for name in ("threads", "rounds"):
        if getattr(args, name) < 1:
            raise RunError(f"`--{name}` must be at least 1, but is {getattr(args, name)} instead.")
    chosen_device(args.device)
    if args.preset is not None:
        Onnx().check(ROUNDED)
    if args.export is not None and (why := refusal(args.export, "folder")):
        raise RunError(f"`--export` must be a folder, but {why}.")
    if args.out is not None and (why := refusal(args.out.parent, "folder")):
        raise RunError(f"`--out` must lie in a folder, but {why}.")


def _subjects(args: argparse.Namespace, place: Path) -> tuple[str, Sequence[Subject]]:
    if args.preset is not None:
        config = resolve([{"preset": args.preset}]).config
        return f"{args.preset}, random weights", of_random(config, args.preset, place)
    run = Run.open(args.run)
    if args.out is None:
        run.prepare(run.folder)
    model = load(run.model_stem)
    selection = open_selection(run, model, args.selection)
    return run.name, of_run(run, model, selection, args.export or run.exports, place)


def _save(args: argparse.Namespace, latency: dict[str, Any]) -> None:
    if args.out is not None:
        write_json(args.out, latency)
    elif args.run is not None:
        Run(args.run).save_latency(latency)


def _table(latency: dict[str, Any], fastest: str = "") -> Fitted:
    base, threads = latency["compared_with"], latency["threads"]
    title = f"{latency['title']}: {latency['machine']}, {threads} thread{'' if threads == 1 else 's'}"
    caption = (
        "RTF: seconds of computation per second of audio, the best of several runs, by the duration of the "
        f"utterance; in parentheses, the ratio to size {base['label']}, {base['runtime']}. "
        f"Memory: the peak up to {MEMORY_AT} s of audio." + f" {fastest}" * bool(fastest)
    )
    table = Fitted(title, caption + f"\n{BUSY}" * latency["busy"], boxed=True)
    table.add_column("size")
    table.add_column("runtime", left=True, wraps=True)
    for name in ("file MB", "memory MB", "load ms", *(f"RTF {length}\u00a0s" for length in SECONDS)):
        table.add_column(name, wraps=name.startswith("RTF"))
    for row in latency["rows"]:
        costs = row["costs"]
        table.add_row(
            row["label"],
            row["runtime"],
            f"{costs['file_mb']:.2f}",
            f"{costs[f'memory_mb_{MEMORY_AT}s']:.0f}",
            f"{1000 * costs['load_s']:.0f}",
            *(f"{costs[f'rtf_{s}s']:.4f} ({row['ratios'][f'rtf_{s}s']:.2f})" for s in SECONDS),
        )
    return table
