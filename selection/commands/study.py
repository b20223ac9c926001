"""Run or report studies: comparisons of methods, and searches for settings."""

from __future__ import annotations

import argparse
import contextlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.study import Study
from sqlalchemy.exc import SQLAlchemyError

from selection.study.compare_runner import CompareRunner
from selection.study.curves_definition import CurvesDefinition
from selection.study.curves_runner import CurvesRunner
from selection.study.definition import CompareDefinition, Definition, checked
from selection.study.redefinition import unfit
from selection.study.reporting import compare_report, curves_report, tune_report
from selection.study.reporting.plan_table import plan_table
from selection.study.storage import DEFINITION, create, load, open_storage
from selection.study.trial_runner import TrialRunner
from selection.study.tune_definition import TuneDefinition
from selection.study.tune_runner import TuneRunner
from selection.study.work import work
from supernet.budget import parse_budgets
from supernet.commands.options import numbers
from supernet.console.front import command, say_next
from supernet.console.progress import progress
from supernet.console.screen import console
from supernet.console.text import fail
from supernet.errors import Divergence
from supernet.runs.run import Run, RunError, as_data
from supernet.settings.plugins import load_plugin
from supernet.settings.presets import Data, load_file, load_shipped, merge, parse_set, task_setting
from supernet.system.files import read_text, refusal, safe_name, write_whole

KINDS: dict[str, type[Definition]] = {
    "compare": CompareDefinition,
    "curves": CurvesDefinition,
    "tune": TuneDefinition,
}


def study(args: argparse.Namespace) -> None:
    """The commands ``study compare``, ``curves``, ``tune`` and ``report``."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    with _storage_guard():
        if args.command == "report":
            _report(load(_storage(args, must_exist=True), _name(args)), args.out)
        else:
            _run(args)


@contextlib.contextmanager
def _storage_guard() -> Iterator[None]:
    """End with one clear message if the storage disappears; finished trainings stay in the run folders."""
    try:
        yield
    except SQLAlchemyError as e:
        fail(f"the storage must stay reachable, but does not answer: {str(e).splitlines()[0]}", 1)


def _run(args: argparse.Namespace) -> None:
    definition = checked(KINDS[args.command], definition_data(args))
    runner = _runner(definition, args)
    planned = runner.plan()
    if args.dry_run:
        with progress() as report:
            console.print(plan_table(planned, definition.resolved(), report))
        words = (word for word in args.words if word != "--dry-run")
        say_next((command("study", *words), "the study itself"))
        return
    updates = sum(training.steps for training in planned)
    console.print(f"{len(planned)} trainings of {updates:,} updates in all; those that finished are kept.")
    args.out.mkdir(parents=True, exist_ok=True)
    data = complete(args.command, definition)
    study = create(_storage(args), _name(args), runner.directions, runner.first(), data, completed, unfit)
    if isinstance(definition, TuneDefinition) and len(runner.directions) == 1:
        study.pruner = definition.new_pruner()
    try:
        work(study, runner)
    except KeyboardInterrupt:  # without the message of the single training
        raise KeyboardInterrupt from None
    except Divergence as e:
        fail(str(e), 1)
    _report(study, args.out)


def complete(kind: str, definition: Definition) -> Data:
    """The study in its stored form, with every setting of its trainings."""
    data = {"kind": kind, **definition.model_dump(mode="json")}
    return _anywhere(data | {"settings": as_data(definition.resolved().config)})


def _anywhere(data: Data) -> Data:
    """The study without a device, which each worker chooses for itself."""
    settings = data.get("settings")
    return data | {"settings": {**settings, "device": None}} if isinstance(settings, Mapping) else data


def completed(data: Data) -> Data:
    """A stored study with the defaults of settings that did not exist when it was stored."""
    data = _anywhere(data)
    kind = data.pop("kind", None)
    return complete(kind, checked(KINDS[kind], data)) if kind in KINDS else data


def _runner(definition: Definition, args: argparse.Namespace) -> TrialRunner:
    if isinstance(definition, CompareDefinition):
        return CompareRunner(definition, args.out)
    if isinstance(definition, CurvesDefinition):
        return CurvesRunner(definition, args.out)
    assert isinstance(definition, TuneDefinition)
    return TuneRunner(definition, args.out, args.trials)


def definition_data(args: argparse.Namespace) -> Data:
    """The study's definition from a command line: the file, overridden by options."""
    data: Data = load_shipped(f"study_{args.command}") if args.config is None else load_file(args.config)
    settings: Data = {}
    if args.task is not None:
        settings["task"] = task_setting(args.task)
    if args.sizes is not None:
        settings["sizes"] = numbers(args.sizes)
    if getattr(args, "budget", None) is not None:
        settings["budgets"] = parse_budgets(args.budget)
    if args.steps is not None:
        settings["train"] = {"num_steps": args.steps}
    if args.device is not None:
        settings["device"] = args.device
    if getattr(args, "method", None) is not None:
        settings["method"] = {"name": args.method}
    options: Data = {"settings": settings} if settings else {}
    if getattr(args, "seeds", None) is not None:
        options["seeds"] = numbers(args.seeds)
    if getattr(args, "objectives", None) is not None:
        options["objectives"] = args.objectives.split(",")
    for layer in (options, *map(parse_set, args.settings)):
        data = merge(data, layer)
    return fitting(data, args.method) if args.command == "tune" and args.config is None else data


def fitting(data: Data, method: str | None) -> Data:
    """The default search, without settings that ``method`` does not have."""
    kls, _ = load_plugin("method", method or "simple-top-k", [])
    known = [] if kls is None else [f"method.{name}" for name in kls.Options.model_fields]

    def fits(values: Mapping[str, Any]) -> Data:
        return {key: value for key, value in values.items() if not key.startswith("method.") or key in known}

    return {**data, "space": fits(data["space"]), "trials": [fits(values) for values in data["trials"]]}


def _storage(args: argparse.Namespace, must_exist: bool = False) -> Any:
    if must_exist and args.storage is None and not (args.out / "study.db").is_file():
        why = refusal(args.out, "folder") or f"'{args.out}' has no study.db. Is it in a --storage?"
        raise RunError(f"`FOLDER` must hold a study, but {why}")
    return open_storage(args.storage, args.out, args.grace)


def _name(args: argparse.Namespace) -> str:
    return str(args.name or args.out.absolute().name)


def _report(study: Study, folder: Path) -> None:
    """Write the tables, pictures and page of a study into its folder, and print the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    data = _anywhere(study.user_attrs[DEFINITION])
    kind, best = data.pop("kind"), None
    if kind == "compare":
        compare_report.write(study, checked(CompareDefinition, data), folder)
    elif kind == "curves":
        curves_report.write(study, checked(CurvesDefinition, data), folder)
    else:
        best = best_settings(study, folder)
        tune_report.write(study, data["objectives"], folder, best)
    console.print(f"The report is {folder / 'report.html'}; results.csv has all numbers.")
    if kind == "compare":
        joint = [run for run in sorted(folder.glob("runs/*")) if not run.name.startswith("individual")]
        say_next(
            (command("study", "report", folder), "write tables and page again from the stored results"),
            *((command("worth", run), "compare its cost with sizes alone") for run in joint[:1]),
        )
    elif kind == "curves":
        say_next((command("study", "report", folder), "write table and page again from the stored results"))
    elif best is not None:
        say_next(
            (command("train", "--config", best, "--out", folder / "best"), "train with the best settings")
        )


def best_settings(study: Study, folder: Path) -> Path | None:
    """Write the best trial's settings as a file for ``--config``; None if its run is not in ``folder``."""
    for trial in tune_report.completed(study)[:1]:
        run = Run(folder / "runs" / safe_name(str(trial.user_attrs.get("run")), "run"))
        if run.config_file.is_file():
            write_whole(folder / "best.yaml", read_text(run.config_file))
            return folder / "best.yaml"
    return None
