"""``python -m supernet.export RUN --size 6``: export a size of a trained run."""

from __future__ import annotations

import argparse
from pathlib import Path

from supernet.console.guard import main_guard
from supernet.console.options import add_checkpoint_options, add_corpus_option, add_subnet_options
from supernet.console.parser import OneOf, Parser, chunk, number, parse, whole
from supernet.console.text import fail
from supernet.runs.places import check_source

FORMATS = ("sherpa-onnx", "onnx", "torch", "executorch", "coreml", "huggingface")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        name="export",
        description="Export sizes of a trained run, or a fine-tuned checkpoint. An export must compute the "
        "same as the cut model.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, or fine-tuned checkpoint")
    add_subnet_options(parser)
    parser.add_argument("--all", action="store_true", help="export every size, each to its own folder")
    bundles = parser.add_mutually_exclusive_group()
    for bundle, text in (
        ("shared", "export every size to one folder, with one file of weights for all of them"),
        ("on-demand", "export one graph, whose input `kept` says for each call which units run"),
    ):
        bundles.add_argument(f"--{bundle}", dest="bundle", action="store_const", const=bundle, help=text)
    parser.add_argument(
        "--format",
        type=OneOf(*FORMATS),
        metavar="|".join(FORMATS),
        default="sherpa-onnx",
        help="default: sherpa-onnx; onnx is the same file, also of networks that sherpa-onnx cannot run; "
        "huggingface is a folder for transformers",
    )
    parser.add_argument(
        "--chunk",
        type=chunk,
        metavar="480ms+160ms",
        help="write files for streaming, and compare them in chunks of this duration, with this look-ahead; "
        "for a network trained with model.streaming",
    )
    parser.add_argument(
        "--max-seconds",
        type=whole(4),
        metavar="SECONDS",
        help="for executorch and coreml: the duration of the longest utterance (default 40)",
    )
    parser.add_argument(
        "--int8", action="store_true", help="also write a smaller, faster file with 8-bit weights"
    )
    parser.add_argument(
        "--int4", action="store_true", help="also write a still smaller file with 4-bit weights"
    )
    parser.add_argument(
        "--int8-margin",
        type=number,
        default=0.5,
        metavar="POINTS",
        help="points by which the test WER of the int8 and int4 files may be higher (default 0.5)",
    )
    parser.add_argument(
        "--unchecked",
        action="store_true",
        help="compare numbers only, not the transcripts of the test split",
    )
    add_corpus_option(parser)
    parser.add_argument("--out", type=Path, help="folder (default: SIZE, shared, or on-demand in RUN/export)")
    parser.add_argument("--force", action="store_true", help="replace the contents of the folder")
    add_checkpoint_options(parser)
    return parser


def main(arguments: list[str] | None = None) -> None:
    args = parse(build_parser(), arguments)
    with main_guard():
        check_source(args.run)
        from supernet.commands.export import export_sizes

        problems = export_sizes(args)
    if problems:
        fail("\n".join(problems), 1)


if __name__ == "__main__":
    main()
