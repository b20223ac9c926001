"""Choose units for every size or budget by every strategy, and compare the choices."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from selection.commands.select_options import wishes, words
from selection.comparing.compare import compare
from selection.comparing.comparison import Comparison
from selection.comparing.earlier import stored
from selection.comparing.session import SelectionRequest, Session
from selection.reporting.pictures import draw_all
from selection.reporting.report import section
from selection.reporting.tables import latency_lines, ordered, table, units_table
from selection.strategy import Strategy
from supernet.commands.checkpoint import check_finished, run_of
from supernet.console.front import command, say_next
from supernet.console.option_names import option_problems
from supernet.console.progress import progress
from supernet.console.screen import console
from supernet.errors import ConfigError
from supernet.evaluation.score_checkpoint import score_whole
from supernet.reporting.run_page import write
from supernet.reporting.trained import results_of, scores_of
from supernet.runs.opening import open_model
from supernet.runs.resolve import resolve_trained
from supernet.settings.names import plugin_names
from supernet.settings.plugins import load_plugin
from supernet.settings.presets import merge, parse_set


def select(args: argparse.Namespace) -> None:
    """The command ``select``."""
    problems: list[str] = []
    settings = _settings(args.settings, problems)
    change = {"task": settings.pop("task")} if "task" in settings else {}
    run = run_of(args, [change] if change else [], divides=True)
    is_made = run.folder != args.run  # of a checkpoint, or of a run with other units
    if is_made and not run.is_finished:
        with progress() as report:
            score_whole(run, report, args.device)
    check_finished(run)
    data, subnets = run.config_data(), run.subnets()
    # Check the inputs and the place of the page before anything is computed.
    results_of(run), scores_of(run)
    run.prepare(run.folder, run.pictures, run.evidence_file.parent)
    request = _request(args, list(subnets), settings, problems)
    logging.getLogger("optuna").setLevel(logging.WARNING)  # it logs studies that the user did not ask for
    resolved = resolve_trained(data, change)
    model = open_model(run, args.device)
    with progress() as report:
        resolved.task.prepare_for(["valid", "test"], model.tokens, report)
        session = Session(run, model, resolved.task, request, report)
        earlier = stored(run.comparison_file, session.view)
        comparison = compare(session, earlier)
        run.save_comparison(comparison.as_data())
        pictures = draw_all(comparison)
        run.save_pictures({f"selection-{name}": drawn.png for name, drawn in pictures.items()})
        write(run, resolved.config, comparison.units, section(comparison, pictures))
    if is_made:  # all that is known of it, as no training wrote a report
        console.print(units_table(comparison))
    console.print(table(comparison, earlier))
    for line in latency_lines(comparison):
        console.print(line)
    for strategy, budgets, reason in comparison.unfit_together():
        console.print(f"{strategy} did not choose for {budgets}: {reason}.")
    console.print(
        f"The report is {run.report_file}; the choices are in selections/STRATEGY.json.", highlight=False
    )
    _say_what_next(session, comparison)


def _say_what_next(session: Session, comparison: Comparison) -> None:
    """Suggest commands for the best choice for the smallest budget."""
    known = plugin_names("strategy")
    best = [
        (contest.budget, row.strategy)
        for contest in comparison.contests
        for row in ordered(contest)
        if row.strategy in known and row.strategy == contest.yardstick
    ]
    if not best:
        return
    (budget, strategy), run = best[-1], session.run
    chosen = ("--selection", session.selection_file(strategy), "--size", budget)
    small = run.beside(f"{session.label(strategy)}-{budget}")
    say_next(
        (command("cut", run.folder, *chosen, "--out", small), "the smallest choice as a model of its own"),
        (command("export", run.folder, *chosen), "files for phones, boards and servers"),
    )


def _request(
    args: argparse.Namespace, sizes: Sequence[str], settings: Mapping[str, Any], problems: list[str]
) -> SelectionRequest:
    """The request of the options; raises ``ConfigError`` with all problems."""
    names = plugin_names("strategy") if args.strategies is None else words(args.strategies)
    strategies = _strategies(names, settings, problems)
    texts = [] if args.sizes is None else words(args.sizes)
    budgets = list(sizes) if args.sizes is None and not args.budget else args.budget
    asked = [*wishes(texts, "--sizes", problems), *wishes(budgets, "--budget", problems)]
    if problems:
        raise ConfigError(problems)
    return SelectionRequest(
        strategies,
        asked,
        must_fit=args.strategies is not None,
        seconds=args.seconds,
        num_valid=args.utterances,
        frozen_steps=args.frozen_steps,
        retime=args.retime,
        chunk=args.chunk,
    )


def _settings(texts: Sequence[str], problems: list[str]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for text in texts:
        try:
            merged = merge(merged, parse_set(text))
        except ConfigError as e:
            problems += option_problems(e)
    return merged


def _strategies(
    names: Sequence[str], settings: Mapping[str, Any], problems: list[str]
) -> dict[str, Strategy]:
    for name in set(settings) - set(names):
        problems.append(f"`--set` {name}.… must be about a strategy in use, but is about '{name}'.")
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
