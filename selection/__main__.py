"""``python -m selection RUN``: choose the units of every size or budget by every strategy, and compare."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selection.budget import BudgetError, Wish
from selection.comparing.earlier import stored
from selection.reporting.pictures import draw_all
from selection.reporting.report import render
from selection.reporting.tables import latency_lines, table
from selection.select import Session, Wanted, compare
from selection.strategy import Strategy
from supernet.cli import main_guard
from supernet.console.options import add_device_option
from supernet.console.progress import progress
from supernet.console.screen import console
from supernet.console.text import fail
from supernet.opening import open_model
from supernet.plugins import load_plugin, plugin_names
from supernet.resolve import ConfigError, merge, parse_set, resolve_trained
from supernet.run import Run, RunError

STOPPED = 130


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m selection",
        description="Choose which units of a trained supernet to keep, and say how good each choice is.",
        epilog="Choices are made on the validation split and reported on the test split. "
        "Stop with Ctrl-C at any time; the same command continues.",
    )
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="run folder")
    add(
        "--strategies",
        metavar="A,B",
        help=f"default: all that fit, of {', '.join(plugin_names('strategy'))}",
    )
    add("--sizes", metavar="4,6,8", help="default: the run's, unless there is a --budget")
    add(
        "--budget",
        metavar="KIND=LIMIT",
        action="append",
        default=[],
        help="params=50%%, macs=1.2G, latency=20ms or units=6 (repeatable)",
    )
    add(
        "--set",
        metavar="a.b=c",
        action="append",
        default=[],
        dest="settings",
        help="a strategy's option, e.g. evolution.population=32, or where the corpus is now, "
        "task.path=/data/speech (repeatable)",
    )
    add("--utterances", type=int, default=300, help="most validation utterances to choose on (default 300)")
    add("--seconds", type=float, default=10.0, help="audio by which MACs and latency count (default 10)")
    add("--frozen-steps", type=int, default=120, help="updates of score learning on frozen weights")
    add("--retime", action="store_true", help="measure milliseconds again; else once for each machine")
    add_device_option(parser)
    return parser


def main(arguments: list[str] | None = None) -> None:
    args = build_parser().parse_args(arguments)
    with main_guard():
        run = Run.open(args.run)
        try:
            _select(run, args)
        except KeyboardInterrupt:
            fail(f"stopped; what was measured is kept in {run.folder}. The same command continues.", STOPPED)


def _select(run: Run, args: argparse.Namespace) -> None:
    data, subnets = run.config_data(), run.subnets()
    if not subnets:
        raise RunError(f"`RUN` must have been trained to the end, but '{run.folder}' has no subnets yet.")
    problems: list[str] = []
    settings = _settings(args.settings, problems)
    change = {"task": settings.pop("task")} if "task" in settings else {}
    wanted = _wanted(args, list(subnets), settings, problems)
    resolved = resolve_trained(data, change)
    model = open_model(run, args.device)
    with progress() as report:
        resolved.task.prepare(report)
        session = Session(run, model, resolved.task, wanted, report)
        earlier = stored(run.comparison_file, session.network)
        comparison = compare(session, earlier)
        pictures = draw_all(comparison)
        run.save_comparison(comparison.as_data(), render(comparison, pictures), pictures)
    console.print(table(comparison, console.width, earlier))
    for line in latency_lines(comparison):
        console.print(line)
    for strategy, budgets, reason in comparison.unfit_together():
        console.print(f"{strategy} did not choose for {budgets}: {reason}.")
    console.print(
        f"{run.report_file} shows it all; selections/STRATEGY.json hold the choices.", highlight=False
    )


def _wanted(
    args: argparse.Namespace, sizes: Sequence[int], settings: Mapping[str, Any], problems: list[str]
) -> Wanted:
    """The options, checked; raises :class:`ConfigError` with everything that is wrong."""
    names = plugin_names("strategy") if args.strategies is None else _words(args.strategies)
    strategies = _strategies(names, settings, problems)
    for option, value in (("utterances", args.utterances), ("frozen-steps", args.frozen_steps)):
        if value < 1:
            problems.append(f"`--{option}` must be at least 1, but is {value} instead.")
    if not 0.1 <= args.seconds <= 3600:
        problems.append(f"`--seconds` must lie between 0.1 and 3600, but is {args.seconds:g} instead.")
    texts = [] if args.sizes is None else _words(args.sizes)
    if args.sizes is None and not args.budget:
        texts = [str(size) for size in sizes]
    wishes = [*_wishes(texts, "--sizes", problems), *_wishes(args.budget, "--budget", problems)]
    if problems:
        raise ConfigError(problems)
    return Wanted(
        strategies,
        wishes,
        must_fit=args.strategies is not None,
        seconds=args.seconds,
        num_valid=args.utterances,
        frozen_steps=args.frozen_steps,
        retime=args.retime,
    )


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _settings(texts: Sequence[str], problems: list[str]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for text in texts:
        try:
            merged = merge(merged, parse_set(text))
        except ConfigError as e:
            problems += e.problems
    return merged


def _strategies(
    names: Sequence[str], settings: Mapping[str, Any], problems: list[str]
) -> dict[str, Strategy]:
    if not names:
        problems.append("`--strategies` must name at least one strategy, but names none.")
    for name in set(settings) - set(names):
        problems.append(f"`--set` {name}.… must be about a strategy that is asked, but is about '{name}'.")
    found: dict[str, Strategy] = {}
    for name in names:
        options = settings.get(name, {})
        if not isinstance(options, Mapping):
            problems.append(f"`--set` must look like {name}.option=value, but is '{name}={options}' instead.")
            continue
        kls, loaded = load_plugin("strategy", {**options, "name": name}, problems, prefix=name)
        if kls is not None and loaded is not None:
            found[name] = kls(loaded)
    return found


def _wishes(texts: Sequence[str], option: str, problems: list[str]) -> list[Wish]:
    found: dict[str, Wish] = {}
    for text in texts:
        if option == "--sizes" and not text.isdigit():
            problems.append(f"`--sizes` must be numbers of units, e.g. 4,6,8, but is '{text}' instead.")
            continue
        try:
            wish = Wish.parse(text)
        except BudgetError as e:
            problems.append(str(e))
        else:
            found[wish.name] = wish
    return list(found.values())


if __name__ == "__main__":
    main()
