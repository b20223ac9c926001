"""``python -m selection RUN``: choose units by every strategy for every size or budget, and compare."""

from __future__ import annotations

import argparse
from pathlib import Path

from selection.commands.select_options import problems_of
from supernet.console.guard import main_guard
from supernet.console.options import add_checkpoint_options, add_device_option
from supernet.console.parser import Parser, chunk, number, parse, whole
from supernet.runs.places import check_source
from supernet.settings.names import plugin_names


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        name="select",
        description="Choose which units of a trained supernet to keep, and rate every choice.",
        epilog="Choices are made on the validation split and reported on the test split. "
        "Stop with Ctrl-C at any time; the same command continues.",
    )
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="run folder, or fine-tuned checkpoint")
    add(
        "--strategies",
        metavar="A,B",
        help=f"default: all that apply, of {', '.join(plugin_names('strategy'))}",
    )
    add("--sizes", metavar="4,6,8", help="default: the run's sizes, unless there is a --budget")
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
        help="an option of a strategy, e.g. evolution.population=32, or the corpus's new location, "
        "task.path=/data/speech (repeatable)",
    )
    add(
        "--utterances",
        type=whole(1),
        default=300,
        metavar="N",
        help="validation utterances to choose on (default 300)",
    )
    add(
        "--seconds",
        type=number,
        default=10.0,
        metavar="S",
        help="length of the audio at which MACs and latency are measured (default 10)",
    )
    add(
        "--frozen-steps",
        type=whole(1),
        default=120,
        metavar="N",
        help="updates of score learning on frozen weights (default 120)",
    )
    add(
        "--chunk",
        type=chunk,
        metavar="320ms",
        help="choose for utterances that are read in chunks of this duration, of a network trained with "
        "model.streaming",
    )
    add(
        "--retime",
        action="store_true",
        help="measure milliseconds again, which is done once per machine otherwise",
    )
    add_device_option(parser)
    add_checkpoint_options(parser, divides=True)
    return parser


def main(arguments: list[str] | None = None) -> None:
    args = parse(build_parser(), arguments, problems_of)
    kept = f"All measurements so far are kept in {args.run}. The same command continues."
    with main_guard(kept, "Copy the run into a folder of your own."):
        check_source(args.run)
        from selection.commands.select import select

        select(args)


if __name__ == "__main__":
    main()
