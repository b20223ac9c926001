"""``python -m selection.worth RUN``: is one supernet cheaper than training each size alone?"""

from __future__ import annotations

import argparse
from pathlib import Path

from supernet.console.guard import main_guard
from supernet.console.parser import Parser, parse
from supernet.runs.places import RunPlaces


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        name="worth",
        description="Compare the cost and error rates of a supernet with those of each size trained alone.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished supernet")
    parser.add_argument(
        "--alone",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="runs of one size alone (default: all that match, in the same folder)",
    )
    return parser


def main(arguments: list[str] | None = None) -> None:
    args = parse(build_parser(), arguments)
    with main_guard():
        RunPlaces(args.run).check()
        from selection.commands.worth import worth

        worth(args)


if __name__ == "__main__":
    main()
