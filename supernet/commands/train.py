"""Train a supernet, choose its subnets, and score every size."""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from supernet import engine
from supernet.budget import parse_budgets
from supernet.commands.advice import left_out, say_what_next, unlearned
from supernet.commands.dry_run import dry_run
from supernet.commands.follower import Follower, Validated
from supernet.commands.options import number_or_text, numbers
from supernet.console.front import command, say_next
from supernet.console.option_names import option_problems
from supernet.console.progress import progress
from supernet.console.screen import console
from supernet.console.tables import results_table
from supernet.console.text import fail, is_main_process, note, remark, say
from supernet.errors import ConfigError
from supernet.evaluation.score_sizes import score_sizes
from supernet.reporting.run_page import write
from supernet.runs.checkpoint import Model, save
from supernet.runs.pretrained import begin
from supernet.runs.resolve import Resolved, merged, resolve, settings, updated
from supernet.runs.run import Run, RunError
from supernet.runs.warm_start import said
from supernet.settings.listing import listing
from supernet.settings.presets import Data, load_file, parse_set, task_setting
from supernet.system.folders import check_closed, held
from supernet.task import SPLITS, ProgressCallback
from supernet.text.tokens import Tokens
from supernet.training.price import unit_steps, unit_weights


class Stopped(KeyboardInterrupt):
    """An interrupted training, with its state saved; the message says where."""


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
    except engine.Divergence as e:
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
    unit = "" if c.granularity == "layer" else f"-{c.granularity}"
    sizes = "-".join(name if i == 0 else name.rpartition("=")[2] for i, name in enumerate(c.names))
    return Path("runs") / f"{c.task.name}-{c.method.name}{unit}-{sizes}-seed{c.seed}"


def train_all(resolved: Resolved, out: Path | None) -> Mapping[str, Any]:
    """One run, or one run per budget where the method trains each separately; the results of all."""
    names, folders = resolved.config.names, _folders(resolved, out)
    if len(folders) == 1:
        return train_one(resolved, folders[0])
    merged: dict[str, Any] = {}
    skipped = steps = 0
    for name, folder in zip(names, folders, strict=True):
        results = train_one(resolved.only(name), folder)
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


def train_one(resolved: Resolved, folder: Path, validated: Validated | None = None) -> Mapping[str, Any]:
    """Train one run, continue it, or read the results of a finished one.

    Args:
        resolved: The configuration.
        folder: The run folder.
        validated: Called after each validation; an exception that it raises ends the training.

    Returns:
        The results, as in ``results.json``.

    Raises:
        Stopped: The training was interrupted.
        Divergence: The loss stayed non-finite.
    """
    run, task, config = Run(folder), resolved.task, resolved.config
    if folder.is_dir():
        check_closed(folder)
    if run.is_finished:
        _refuse_more_steps(run, config.train.num_steps)
        run.begin(config, updated)
        remark(f"'{folder}' is finished; these are its results.")
        return run.results()
    with progress() as report, contextlib.ExitStack() as stack:
        task.prepare(report)
        for line in task.notes() if is_main_process() else ():
            note(line)
        tokens = task.tokens()
        for line in task.remarks(SPLITS, tokens) if is_main_process() else ():
            note(line)
        if is_main_process():
            stack.enter_context(held(folder))
            if run.is_finished:  # meanwhile
                return run.results()
            run.begin(config, updated)
            run.keep_tokens(tokens)
            run.save_skipped(task.skipped())
            if config.model.init_weights is not None and not run.is_begun:
                console.print(said(str(config.model.init), tokens), highlight=False)
        resolved = _priced(resolved, run, len(tokens))
        start = time.monotonic()
        follower = Follower(run, resolved, report, validated)
        try:
            # Checkpoints hold all weights.
            start_weights = None if run.is_begun else partial(begin, tokens=tokens)
            trained = engine.train(config, resolved.method, task, tokens, folder, follower, start_weights)
        except KeyboardInterrupt:
            raise Stopped(
                f"Stopped. What was trained is kept in {folder}. The same command continues."
            ) from None
        if not trained.is_main:
            return {"sizes": {}}
        return _finish(run, resolved, trained, tokens, time.monotonic() - start, report)


def _priced(resolved: Resolved, run: Run, num_tokens: int) -> Resolved:
    """The run with the costs of its units, which a training that is continued has had from the beginning."""
    quantity = resolved.config.wishes[0].quantity
    if quantity == "latency" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RunError("`budgets` in latency must be trained by one process, which measures it, but are not.")
    resolved = resolved.priced(num_tokens, run.prices())
    if quantity != "units" and is_main_process():
        run.save_prices(resolved.method.prices[quantity])
    return resolved


def _refuse_more_steps(run: Run, num_steps: int) -> None:
    """Raise ``RunError`` if a finished run is asked for more updates: its learning rate has decayed."""
    done = run.results().get("steps")
    if isinstance(done, int) and num_steps > done:
        raise RunError(
            f"'{run.folder}' is finished after {done:,} updates. To train further, start a new run from it: "
            f"the same command with --set model.init={run.folder} --out FOLDER."
        )


def _finish(
    run: Run,
    resolved: Resolved,
    trained: engine.Result,
    tokens: Tokens,
    seconds: float,
    report: ProgressCallback,
) -> Mapping[str, Any]:
    """Save the weights and subnets, score every size, and write the report."""
    net = trained.model.eval()
    model = Model(net, tokens, resolved.task.train_lengths(tokens))
    subnets = {name: net.table.subnet(kept) for name, kept in trained.schedule.subnets().items()}
    save(model, run.model_stem)
    run.save_subnets(subnets)
    sizes = score_sizes(run, model, resolved.task, subnets, ["test"], report).sizes
    skipped = resolved.task.skipped()
    results = {
        "sizes": sizes,
        "title": run.name + (f" ({len(skipped)} utterances skipped, see skipped.tsv)" if skipped else ""),
        "steps": resolved.config.train.num_steps,
        "unit_steps": round(unit_steps(trained.schedule, unit_weights(net))),
        "skipped_updates": int(net.skipped_updates),
        "last_session_seconds": round(seconds, 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "phases": trained.schedule.boundaries(),
    }
    run.save_results(results)
    write(run, resolved.config, [unit.name for unit in net.table.units])
    return results
