"""A manifest folder, made once and checked."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from supernet.batch import SPLITS, TaskError
from supernet.console.progress import progress
from supernet.console.screen import console
from supernet.plugins import load_plugin
from supernet.resolve import ConfigError, Data, merge, parse_set, task_from_option
from tasks.cache import make_once
from tasks.conversion import convert
from tasks.converted import ConvertedTask
from tasks.manifest import Manifest
from tasks.problems import FILE as PROBLEMS
from tasks.problems import is_outdated, left_out, read_problems
from tasks.summary import read_summary
from tasks.usable import check_share, of_split


def prepare(args: argparse.Namespace) -> None:
    """The command ``prepare``."""
    task = _task(args)
    summary = _make(task, args.out, args.decode)
    console.print(summary_table(summary, str(args.out)))
    if summary["problems"]:
        console.print(problems_table(summary, args.out))
    _check(summary, args.out, task.options.max_skipped)
    console.print(f"Train on it: python -m supernet.train --task {args.out}")


def _task(args: argparse.Namespace) -> ConvertedTask:
    data: Data = task_from_option(args.task)
    if args.path is not None:
        data["path"] = args.path
    for setting in args.settings:
        data = merge(data, parse_set(setting))
    problems: list[str] = []
    kls, options = load_plugin("task", data, problems)
    if problems:
        raise ConfigError(problems)
    task = kls(options)
    if not isinstance(task, ConvertedTask):
        raise TaskError(
            f"`NAME` must be a corpus that lies on the disk, but '{kls.name}' is made while training."
        )
    if isinstance(task, Manifest) and task.is_lhotse:
        raise TaskError(
            f"`PATH` must be another form than Lhotse's cuts; give '{task.path}' to --task as it is."
        )
    return task


def _make(task: ConvertedTask, out: Path, decode: bool) -> Mapping[str, Any]:
    """The summary of ``out``, which is made unless it is there already, of the same listing."""
    summary = read_summary(out)
    if out.exists() and (summary is None or summary["made_from"] != task.source.digest or is_outdated(out)):
        raise TaskError(
            f"`--out` must be a new folder, but '{out}' is something else or outdated. Delete it first."
        )
    with progress() as report:
        make_once(out, lambda folder: convert(task.source, folder, report, decode))
    return read_summary(out) or {}


def _check(summary: Mapping[str, Any], out: Path, most: float) -> None:
    """Raise what a training would, where too much of a split cannot be used."""
    skipped = left_out(out)
    usable = Counter({split: 0 for split in SPLITS})
    for row in summary["rows"]:
        usable[row["split"]] += row["utterances"]
    refused = []
    for split in SPLITS:
        unusable = of_split(skipped, split)
        try:
            check_share(unusable, usable[split] + len(unusable), split, most)
        except TaskError as error:
            refused.append(f"{error} All of them: {out / PROBLEMS}.")
    if refused:
        raise TaskError("\n".join(refused))


def summary_table(summary: Mapping[str, Any], title: str) -> Table:
    """Splits, and their parts where they have some, in rows."""
    table = Table(title=title, title_justify="left", padding=(0, 1, 0, 0))
    for name in ("split", "utterances", "hours", "speakers", "Hz", "characters"):
        table.add_column(
            name, justify="left" if name in ("split", "characters") else "right", overflow="fold"
        )
    for row in summary["rows"]:
        table.add_row(
            " ".join(filter(None, (row["split"], row["part"]))),
            f"{row['utterances']:,}",
            f"{row['hours']:.2f}",
            f"{row['speakers']:,}" if row["speakers"] else "unknown",
            _rates(row["rates"]),
            f"{len(row['characters'])}: {row['characters'].replace(' ', '␣')}",
        )
    return table


def _rates(rates: Mapping[str, int]) -> str:
    """The rates, with the number of utterances where they are several."""
    if len(rates) == 1:
        return next(iter(rates))
    return " ".join(f"{rate} ({number:,})" for rate, number in rates.items())


def problems_table(summary: Mapping[str, Any], out: Path) -> Table:
    """How many problems of each kind there are, each with the first of them."""
    table = Table(title=f"problems, all in {out / PROBLEMS}", title_justify="left", padding=(0, 1, 0, 0))
    for name in ("problem", "split", "number", "", "the first"):
        table.add_column(name, justify="right" if name == "number" else "left", overflow="fold")
    first: dict[tuple[str, str], Any] = {}
    for problem in read_problems(out):
        first.setdefault((problem.split, problem.kind), problem)
    for row in summary["problems"]:
        example = first[row["split"], row["kind"]]
        consequence = "left out" if example.leaves_out else "used"
        place = f"{example.where}: {example.what}"
        table.add_row(row["kind"], row["split"], f"{row['number']:,}", consequence, place)
    return table
