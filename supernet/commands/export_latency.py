"""Measure exports on a device. Imports neither torch nor Rich, which a device need not have."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supernet.console.text import aligned, note, say
from supernet.errors import ArgumentError, UserError
from supernet.latency.exports import (
    exports_in,
    fastest_words,
    save_fastest_of,
    subjects_of,
    times_by_export,
    wrong_ones,
)
from supernet.latency.measure import MEMORY_AT, Subject, measure
from supernet.runtime.fastest import SECONDS
from supernet.system.files import refusal, write_json
from supernet.system.folders import check_writable
from supernet.system.timing import BUSY

FILE = "latency.json"
HEADER = ("export", "size", "precision", "ms", "ratio", "memory MB", "load ms", "file MB")


def export_latency(args: argparse.Namespace) -> None:
    """Run the command ``latency`` for an export, or a folder of exports."""
    _check(args)
    folder: Path = args.run
    if args.out is None:
        check_writable(folder)
    subjects = subjects_of(exports_in(folder))
    if not subjects:
        raise UserError(f"'{folder}' must have a file for onnxruntime, but has none.")
    figures = measure(folder.resolve().name, subjects, args.threads, args.rounds, _report)
    times = times_by_export(subjects, figures["rows"])
    write_json(args.out or folder / FILE, figures)
    if args.out is None:
        save_fastest_of(times, args.threads, figures["busy"])
    _print(subjects, figures, fastest_words(times))


def _check(args: argparse.Namespace) -> None:
    given = {"preset": args.preset, "selection": args.selection, "export": args.export}
    problems = [
        f"`{name}` must go with a run, but '{args.run}' is an export."
        for name, value in given.items()
        if value
    ]
    if args.device != "cpu":
        problems.append(f"`device` must be cpu for the export '{args.run}', but is {args.device} instead.")
    if args.out is not None and (why := refusal(args.out.parent, "folder")):
        problems.append(f"`out` must lie in a folder, but {why}.")
    if importlib.util.find_spec("onnxruntime") is None:
        problems.append("onnxruntime must be installed, but is not: pip install numpy onnxruntime")
    if problems:
        raise ArgumentError([*given, "device", "out"], *problems)


def _report(what: str, done: int, total: int) -> None:
    note(f"{what}: {done + 1} of {total}")


def _print(subjects: list[Subject], figures: Mapping[str, Any], fastest: str) -> None:
    rows = [
        (subject.file.parent.name, subject.label, str(subject.precision), *_cells(row))
        for subject, row in zip(subjects, figures["rows"], strict=True)
    ]
    base, threads = figures["compared_with"], figures["threads"]
    say(f"{figures['title']}: {figures['machine']}, {threads} thread{'' if threads == 1 else 's'}")
    say("\n".join(aligned([HEADER, *rows], left=3)))
    say(
        f"ms: for {SECONDS} s of audio, the best of several runs; ratio: to size {base['label']}, "
        f"{base['runtime']}. Memory: the peak up to {MEMORY_AT} s."
    )
    say(fastest)
    for wrong in wrong_ones(subjects, figures["rows"]):
        note(wrong)
    if figures["busy"]:
        say(BUSY)


def _cells(row: Mapping[str, Any]) -> list[str]:
    costs, key = row["costs"], f"rtf_{SECONDS}s"
    return [
        f"{1000 * SECONDS * costs[key]:.1f}",
        f"{row['ratios'][key]:.2f}",
        f"{costs[f'memory_mb_{MEMORY_AT}s']:.0f}",
        f"{1000 * costs['load_s']:.0f}",
        f"{costs['file_mb']:.2f}",
    ]
