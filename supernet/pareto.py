"""``python -m supernet.pareto RUN RUN``: error rates against costs of several runs in one picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from supernet.console.guard import main_guard
from supernet.console.parser import Parser, parse
from supernet.errors import Checks
from supernet.runs.places import RunPlaces


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        name="pareto",
        description="Draw the error rates of several runs, such as one with layers and one with modules, "
        "against MACs and time.",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a finished run")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("pareto.png"),
        metavar="FILE",
        help="the picture (default: pareto.png)",
    )
    return parser


def main(arguments: list[str] | None = None) -> None:
    args = parse(build_parser(), arguments)
    with main_guard():
        checks = Checks()
        for run in args.runs:
            with checks:
                RunPlaces(run).check()
        checks.end()
        from supernet.commands.pareto import pareto

        pareto(args)


if __name__ == "__main__":
    main()
