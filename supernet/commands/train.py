"""Train a supernet, choose its subnets, and score every size."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from supernet.budget import parse_budgets
from supernet.commands.advice import left_out, say_what_next, unlearned
from supernet.commands.dry_run import dry_run
from supernet.commands.options import number_or_text, numbers
from supernet.config import Config
from supernet.console.front import command, say_next
from supernet.console.option_names import option_problems
from supernet.console.progress import progress
from supernet.console.screen import console
from supernet.console.tables import results_table
from supernet.console.text import fail, say
from supernet.console.training import train_on_console
from supernet.errors import ConfigError, Divergence
from supernet.runs.resolve import Resolved, merged, resolve, settings
from supernet.runs.run import Run
from supernet.settings.listing import listing
from supernet.settings.presets import Data, load_file, parse_set, task_setting
from supernet.system.folders import check_closed
from supernet.system.processes import is_main_process


def train(args: argparse.Namespace) -> None:
    """Run the command ``train``."""
    if args.listed is not None:
        say(listing(settings(merged(layers(args, []))), args.listed))
        return
    problems: list[str] = []
    resolved = resolve(layers(args, problems), _saved(args.out), problems)
    if args.dry_run:
        with progress() as report:
            table = dry_run(resolved, report)
        if is_main_process():
            console.print(table)
        words = (word for word in args.words if word != "--dry-run")
        say_next((command("train", *words), "the training itself"))
        return
    try:
        results = train_all(resolved, args.out)
    except Divergence as e:
        fail(str(e), 1)
    if is_main_process():
        console.print(results_table(results))
        for warning in filter(None, (unlearned(results), left_out(results))):
            console.print(warning)
        say_what_next(_folders(resolved, args.out))


def _saved(folder: Path | None) -> Data | None:
    """The saved configuration of the run in ``folder``, if there is one."""
    if folder is None or not Run(folder).config_file.is_file():
        return None
    check_closed(folder)
    return Run(folder).config_data()


def layers(args: argparse.Namespace, problems: list[str]) -> list[Data]:
    """The settings of a command line, in layers of increasing priority; adds to ``problems``."""
    options: Data = {}
    if args.sizes is not None:
        options["sizes"] = numbers(args.sizes)
    if args.budget is not None:
        options["budgets"] = parse_budgets(args.budget)
    for name in ("method", "granularity", "device"):
        if (value := getattr(args, name)) is not None:
            options[name] = value
    if args.seed is not None:
        options["seed"] = number_or_text(args.seed)
    if args.steps is not None:
        options["train"] = {"num_steps": number_or_text(args.steps)}
    if args.task is not None:
        options["task"] = task_setting(args.task)
    found: list[Data] = [{"preset": args.preset}] if args.preset else []
    if args.config is not None:
        found += _read(load_file, args.config, problems)
    return [*found, options, *(data for text in args.settings for data in _read(parse_set, text, problems))]


def _read(read: Callable[[Any], Data], given: Any, problems: list[str]) -> list[Data]:
    try:
        return [read(given)]
    except ConfigError as e:
        problems += option_problems(e)
        return []


def default_folder(resolved: Resolved) -> Path:
    """The run folder under ``runs/`` that is named after the configuration."""
    c = resolved.config
    unit = "" if c.granularity == Config.model_fields["granularity"].default else f"-{c.granularity}"
    sizes = "-".join(name if i == 0 else name.rpartition("=")[2] for i, name in enumerate(c.names))
    return Path("runs") / f"{c.task.name}-{c.method.name}{unit}-{sizes}-seed{c.seed}"


def train_all(resolved: Resolved, out: Path | None) -> Mapping[str, Any]:
    """One run, or one run per budget where the method trains each separately; the results of all."""
    names, folders = resolved.config.names, _folders(resolved, out)
    if len(folders) == 1:
        return train_on_console(resolved, folders[0])
    merged: dict[str, Any] = {}
    skipped = steps = 0
    for name, folder in zip(names, folders, strict=True):
        results = train_on_console(resolved.only(name), folder)
        merged.update(results["sizes"])
        skipped, steps = skipped + results.get("skipped_updates", 0), steps + results.get("steps", 0)
    return {
        "title": "each size trained alone",
        "sizes": merged,
        "skipped_updates": skipped,
        "steps": steps,
    }


def _folders(resolved: Resolved, out: Path | None) -> list[Path]:
    """The folder of each run there will be."""
    names = resolved.config.names
    if not resolved.method.separate_runs or len(names) == 1:
        return [out or default_folder(resolved)]
    if out is not None:
        return [out / name for name in names]
    return [default_folder(resolved.only(name)) for name in names]
