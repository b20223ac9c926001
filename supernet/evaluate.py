"""``python -m supernet.evaluate RUN``: score a trained run again."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from supernet.console.guard import main_guard
from supernet.console.options import (
    add_average_option,
    add_cascade_options,
    add_checkpoint_options,
    add_decoding_options,
    add_device_option,
    add_selection_option,
    add_set_option,
    check_cascade,
)
from supernet.console.parser import Parser, chunk, parse
from supernet.runs.places import check_source
from supernet.scoring.target import Target


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(name="evaluate", description="Score the sizes of a trained run.")
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, or fine-tuned checkpoint")
    parser.add_argument(
        "--sizes", "--budgets", dest="sizes", metavar="6,9", help="sizes (or budgets) to score (default: all)"
    )
    add_cascade_options(
        parser,
        "auto|macs=60%|errors=2%|0.9",
        "fit the threshold on the validation split: no more errors than the largest size at the least cost, "
        "the fewest errors at a cost, or the least cost at an error rate (default: as fitted before)",
        Target.parse,
    )
    parser.add_argument(
        "--split",
        metavar="test",
        default="test",
        help="one or more of train,valid,test, or parts such as test-clean (default: test)",
    )
    parser.add_argument(
        "--chunk",
        type=chunk,
        metavar="320ms",
        help="score as with transcribe --chunk: for a network trained with model.streaming",
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


def _problems(args: argparse.Namespace) -> Iterator[str]:
    yield from check_cascade(args, "sizes", "by", "average", "chunk")
    if args.threshold is not None and args.name is not None:
        yield "`--threshold` must be given without `--name`: it is fitted on the corpus of the run."


def main(arguments: list[str] | None = None) -> None:
    args = parse(build_parser(), arguments, _problems)
    with main_guard(elsewhere="Copy the run into a folder of your own."):
        check_source(args.run)
        if args.cascade is None:
            from supernet.commands.evaluate import evaluate

            evaluate(args)
        else:
            from supernet.commands.cascade import evaluate_cascade

            evaluate_cascade(args)


if __name__ == "__main__":
    main()
