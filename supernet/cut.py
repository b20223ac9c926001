"""``python -m supernet.cut RUN --size 6 --out FOLDER``: one size as a small ordinary model."""

from __future__ import annotations

import argparse
from pathlib import Path

from supernet.console.guard import main_guard
from supernet.console.options import add_average_option, add_subnet_options
from supernet.console.parser import Parser, parse
from supernet.runs.places import check_source


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(name="cut", description="Cut one size out of a trained supernet.")
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, or fine-tuned checkpoint")
    add_subnet_options(parser)
    add_average_option(parser)
    parser.add_argument(
        "--merge",
        action="store_true",
        help="average each dropped layer into the nearest kept one, to be trained further",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for model.safetensors, model.json and tokens.txt"
    )
    return parser


def main(arguments: list[str] | None = None) -> None:
    args = parse(build_parser(), arguments)
    with main_guard():
        check_source(args.run)
        from supernet.commands.cut import cut

        cut(args)


if __name__ == "__main__":
    main()
