"""The command ``prepare``: convert a corpus to a validated manifest folder."""

from __future__ import annotations

import argparse
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from supernet.console.fitted import Fitted
from supernet.console.front import command, say_next
from supernet.console.progress import progress
from supernet.console.screen import console
from supernet.console.text import note
from supernet.errors import ConfigError
from supernet.settings.plugins import load_plugin
from supernet.settings.presets import Data, merge, parse_set, task_setting
from supernet.system.files import whole_folder
from supernet.task import SPLITS, ProgressCallback, Skipped, TaskError
from tasks.commands.preview import Preview, preview_training
from tasks.converted import ConvertedTask
from tasks.files.cache import make_once, why_not_writable
from tasks.files.problems import FILE as PROBLEMS
from tasks.files.problems import is_outdated, left_out, read_problems
from tasks.listing.conversion import convert
from tasks.manifest import Manifest
from tasks.options import CorpusOptions
from tasks.store.index import SKIPPED, write_skipped
from tasks.store.summary import read_summary
from tasks.store.usable import check_share

MOST_CHARACTERS = 24
"""Characters of a split that the table shows at most."""


def prepare(args: argparse.Namespace) -> None:
    """Run the command."""
    task, out = _task(args), args.out
    with progress() as report:
        summary = _make(task, out, args.decode, report)
    console.print(summary_table(summary, str(out)))
    with progress() as report:
        preview = Preview([], [])
        if all(_sizes(summary).values()):  # empty splits are refused below
            preview = preview_training(out, task.options, report)
    if preview.skipped:
        write_skipped(out, preview.skipped)
    else:
        (out / SKIPPED).unlink(missing_ok=True)
    if summary["problems"] or preview.skipped:
        console.print(problems_table(summary, out, preview.skipped))
    for line in task.notes():
        note(line)
    if refused := preview.refusals or _refusals(summary, out, task.options.max_skipped):
        lists = f"{out / PROBLEMS}{f' and {out / SKIPPED}' if preview.skipped else ''}"
        raise TaskError("\n".join(f"{line} All of them: {lists}." for line in refused))
    say_next((command("train", "--task", out, *_training_options(args.settings)), "train on it"))


def _task(args: argparse.Namespace) -> ConvertedTask:
    data: Data = task_setting(args.task)
    if args.path is not None:
        data["path"] = args.path
    for setting in args.settings:
        # With the prefix, it is written as for training.
        data = merge(data, parse_set(setting.removeprefix("task.")))
    problems: list[str] = []
    kls, options = load_plugin("task", data, problems)
    if problems:
        raise ConfigError(problems)
    task = kls(options)
    if not isinstance(task, ConvertedTask):
        raise TaskError(
            f"`NAME` must be a corpus on the disk, but '{kls.name}' is made by the training itself."
        )
    if isinstance(task, Manifest) and task.is_lhotse:
        raise TaskError(
            f"`PATH` must be in another format than Lhotse's cuts; pass '{task.path}' to --task directly."
        )
    return task


def _training_options(settings: Sequence[str]) -> list[str]:
    """Options that apply ``settings`` to training, but for those about the corpus's own format."""
    named = [setting.removeprefix("task.") for setting in settings]
    kept = [one for one in named if re.split("[.=]", one)[0] in CorpusOptions.model_fields]
    return [word for one in kept for word in ("--set", f"task.{one}")]


def _make(task: ConvertedTask, out: Path, decode: bool, report: ProgressCallback) -> Mapping[str, Any]:
    """Make ``out`` unless it exists and is of the same listing, and return its summary."""
    summary = read_summary(out)
    if out.exists() and (summary is None or summary["made_from"] != task.source.digest or is_outdated(out)):
        raise TaskError(
            f"`--out` must be a new folder, but '{out}' is something else or outdated. Delete it first."
        )
    if summary is None or (decode and not summary.get("decoded")):
        _check_place(out)
    if summary is None:
        make_once(out, lambda folder: convert(task.source, folder, report, decode))
    elif decode and not summary.get("decoded"):
        with whole_folder(out.resolve()) as folder:
            convert(task.source, folder, report, decode)
            _keep_others(out, folder)
    return read_summary(out) or {}


def _check_place(out: Path) -> None:
    """Raise ``TaskError`` if ``out`` cannot be made."""
    # A dangling link is not a folder, and cannot be replaced by one.
    why = "it is a dangling link" if out.is_symlink() and not out.exists() else ""
    if why := why or why_not_writable(out.resolve().parent):
        raise TaskError(f"`--out` must be a new folder, but '{out}' cannot be made: {why}.")


def _keep_others(before: Path, folder: Path) -> None:
    """Copy other files that are kept in the folder ``before`` into ``folder``."""
    for other in before.iterdir():
        if not (place := folder / other.name).exists():
            (shutil.copytree if other.is_dir() else shutil.copy2)(other, place)


def _sizes(summary: Mapping[str, Any]) -> Counter[str]:
    """Number of utterances of each split."""
    sizes: Counter[str] = Counter({split: 0 for split in SPLITS})
    for row in summary["rows"]:
        sizes[row["split"]] += row["utterances"]
    return sizes


def _refusals(summary: Mapping[str, Any], out: Path, most: float) -> list[str]:
    """Reasons why training would refuse splits of which nothing, or too little, is left."""
    refused, skipped, sizes = [], left_out(out), _sizes(summary)
    for split in SPLITS:
        unusable = [one for one in skipped if one.split == split]
        try:
            check_share(unusable, sizes[split] + len(unusable), split, most)
        except TaskError as error:
            refused.append(str(error))
    return refused


def summary_table(summary: Mapping[str, Any], title: str) -> Fitted:
    """Make a table with a row for each split, or each part of it."""
    table = Fitted(title, boxed=True)
    for name in ("split", "utterances", "hours", "speakers", "Hz", "characters"):
        table.add_column(name, left=name in ("split", "characters"), wraps=name in ("split", "Hz"))
    for row in summary["rows"]:
        table.add_row(
            " ".join(filter(None, (row["split"], row["part"]))),
            f"{row['utterances']:,}",
            f"{row['hours']:.2f}",
            f"{row['speakers']:,}" if row["speakers"] else "unknown",
            _rates(row["rates"]),
            _characters(row["characters"].replace(" ", "␣")),
        )
    return table


def _characters(text: str) -> str:
    """The number of characters and the first of them; the summary on the disk has all."""
    return f"{len(text)}: {text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + '…'}"


def _rates(rates: Mapping[str, int]) -> str:
    """The sampling rates, with the number of utterances of each if there are several."""
    if len(rates) == 1:
        return next(iter(rates))
    return " ".join(f"{rate} ({number:,})" for rate, number in rates.items())


def problems_table(summary: Mapping[str, Any], out: Path, previewed: Sequence[Skipped] = ()) -> Fitted:
    """Make a table of the number of problems of each kind, with the first of each, and of the utterances that
    training would leave out in addition because of their durations and texts.
    """
    lists = f"{out / PROBLEMS}{f' and {SKIPPED}' if previewed else ''}"
    first: dict[tuple[str, str], Any] = {}
    for problem in read_problems(out):
        first.setdefault((problem.split, problem.kind), problem)
    rows, examples = [], []
    for row in summary["problems"]:
        example = first[row["split"], row["kind"]]
        consequence = "left out" if example.leaves_out else "used"
        consequence = "not read" if example.kind == "left aside" else consequence
        rows.append((row["kind"], row["split"], f"{row['number']:,}", consequence))
        examples.append(f"{row['kind']}, {row['split']}: {example.where}: {example.what}")
    for (split, kind), group in groupby(previewed, key=lambda one: (one.split, one.reason.partition(":")[0])):
        one, *others = group
        rows.append((kind, split, f"{1 + len(others):,}", "left out"))
        examples.append(f"{kind}, {split}: {one.id}: {one.reason}")
    table = Fitted(f"problems, all in {lists}", "\n".join(["The first of each:", *examples]), boxed=True)
    for name in ("problem", "split", "number", ""):
        table.add_column(name, left=name != "number", wraps=name == "problem")
    for cells in rows:
        table.add_row(*cells)
    return table
