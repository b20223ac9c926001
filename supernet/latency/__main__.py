"""``python -m supernet.latency RUN``: measure latency and memory of each size on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from supernet.console.guard import main_guard
from supernet.console.options import add_selection_option
from supernet.console.parser import Parser, parse, whole
from supernet.runs.places import RunPlaces


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        name="latency",
        description="Measure each size on this machine, in PyTorch and as exported: time, memory, loading.",
    )
    parser.add_argument("run", type=Path, nargs="?", metavar="RUN", help="run folder")
    parser.add_argument("--preset", help="instead of a run: the network of a preset with random weights")
    parser.add_argument("--export", type=Path, metavar="DIR", help="exports (default: RUN/export)")
    add_selection_option(parser)
    parser.add_argument(
        "--device", default="cpu", metavar="NAME", help="device of PyTorch: cuda, cuda:1 (default: cpu)"
    )
    parser.add_argument(
        "--threads", type=whole(1), default=1, metavar="N", help="number of threads (default 1)"
    )
    parser.add_argument(
        "--rounds", type=whole(1), default=3, metavar="N", help="number of processes per file (default 3)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file for the figures (default: RUN/latency.json)"
    )
    return parser


def main(arguments: list[str] | None = None) -> None:
    args = parse(build_parser(), arguments)
    with main_guard():
        if args.run is not None and args.preset is None:
            RunPlaces(args.run).check()
        from supernet.commands.latency import latency

        latency(args)


if __name__ == "__main__":
    main()
