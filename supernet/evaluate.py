"""``python -m supernet.evaluate RUN``: score a trained run again."""

from __future__ import annotations

import argparse
from pathlib import Path

from supernet.console.guard import main_guard
from supernet.console.options import (
    add_average_option,
    add_checkpoint_options,
    add_decoding_options,
    add_device_option,
    add_selection_option,
    add_set_option,
)
from supernet.console.parser import Parser, parse
from supernet.runs.places import check_source


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(name="evaluate", description="Score the sizes of a trained run.")
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, or fine-tuned checkpoint")
    parser.add_argument(
        "--sizes", "--budgets", dest="sizes", metavar="6,9", help="sizes (or budgets) to score (default: all)"
    )
    parser.add_argument(
        "--split",
        metavar="test",
        default="test",
        help="one or more of train,valid,test, or parts such as test-clean (default: test)",
    )
    parser.add_argument(
        "--by",
        metavar="speaker,length",
        help="also print a table of error rates by speaker, by length, or both",
    )
    condition = "another corpus or condition, e.g. task.eval_noise.folder=musan (needs --name)"
    add_set_option(parser, condition, "task.a=b")
    parser.add_argument("--name", metavar="noisy", help="name of the condition, for titles and transcripts")
    add_selection_option(parser)
    add_average_option(parser)
    add_device_option(parser)
    add_checkpoint_options(parser)
    add_decoding_options(parser)
    return parser


def main(arguments: list[str] | None = None) -> None:
    args = parse(build_parser(), arguments)
    with main_guard(elsewhere="Copy the run into a folder of your own."):
        check_source(args.run)
        from supernet.commands.evaluate import evaluate

        evaluate(args)


if __name__ == "__main__":
    main()
