"""``python -m selection.study``: compare methods, draw learning curves, tune settings, or report a study."""

from __future__ import annotations

import argparse
from pathlib import Path

from supernet.console.guard import OTHER_FOLDER, main_guard
from supernet.console.options import add_device_option, add_set_option
from supernet.console.parser import Parser, parse, whole
from supernet.settings.names import plugin_names


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        name="study",
        description="Find out by many trainings which method is best (compare), which sizes are (curves), or "
        "which settings (tune).",
        epilog="Stop with Ctrl-C at any time; the same command continues. Run it in several places with the "
        "same --storage to share the work.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="compare|curves|tune|report")
    compare = commands.add_parser("compare", help="compare methods, strategies and seeds")
    curves = commands.add_parser(
        "curves", help="train each size alone for several lengths: where are larger sizes better?"
    )
    tune = commands.add_parser("tune", help="search for the best settings of a method")
    report = commands.add_parser(
        "report", help="write tables, pictures and pages again from the stored results"
    )
    for command in (compare, curves, tune):
        _add_study_options(command, budgets=command is compare)
    for command in (compare, curves):
        command.add_argument("--seeds", metavar="0,1,2", help="seeds of every run")
    tune.add_argument("--method", metavar="NAME", help=f"how to train: {', '.join(plugin_names('method'))}")
    tune.add_argument(
        "--trials", type=whole(1), default=40, metavar="N", help="number of trials (default 40)"
    )
    tune.add_argument(
        "--objectives", metavar="A,B", help="errors, errors/6, wer, cer, compute (default: errors)"
    )
    report.add_argument("out", type=Path, metavar="FOLDER", help="the study's folder")
    for command in (compare, curves, tune, report):
        _add_storage_options(command)
    return parser


def _add_study_options(parser: argparse.ArgumentParser, budgets: bool) -> None:
    add = parser.add_argument
    add("--config", type=Path, metavar="FILE", help="the study in YAML (default: configs/study_*.yaml)")
    add("--out", type=Path, metavar="FOLDER", required=True, help="folder for runs, artifacts and reports")
    add("--task", metavar="NAME|PATH", help="as for the command train")
    add("--sizes", metavar="6,9,12", help="as for the command train")
    if budgets:
        add("--budget", metavar="macs=50%,100%", help="as for the command train")
    add("--steps", type=whole(1), metavar="N", help="updates of a run")
    add("--dry-run", action="store_true", help="print all trainings with estimates of their time, and exit")
    add_device_option(parser)
    add_set_option(parser, "any key of the study, e.g. settings.train.lr=0.001")


def _add_storage_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--storage",
        metavar="URL",
        help="postgresql://…, any URL of Optuna's, or journal:FILE (default: study.db in the folder)",
    )
    add("--name", help="the study's name in the storage (default: the folder's)")
    add(
        "--grace",
        type=whole(4),
        default=120,
        metavar="S",
        help="seconds without a heartbeat after which another worker takes over a trial (default 120)",
    )


def main(arguments: list[str] | None = None) -> None:
    args = parse(build_parser(), arguments)
    kept = f"All work so far is kept in {args.out}. The same command continues."
    place = "Copy the study into a folder of your own." if args.command == "report" else OTHER_FOLDER
    with main_guard(kept, place, {"folder": "--out"}):
        from selection.commands.study import study

        study(args)


if __name__ == "__main__":
    main()
