"""``python -m supernet.latency RUN``: measure latency and memory of each size on this machine.

An export is measured without PyTorch, as on a device.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from supernet.console.guard import main_guard
from supernet.console.options import add_selection_option
from supernet.console.parser import Parser, parse, whole
from supernet.latency.exports import exports_in
from supernet.runs.places import RunPlaces


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        name="latency",
        description="Measure each size on this machine, in PyTorch and as exported: time, memory, loading. "
        "Exports note the fastest precision of their weights here.",
    )
    parser.add_argument(
        "run",
        type=Path,
        nargs="?",
        metavar="RUN",
        help="run folder; or an export or a folder of exports, also without PyTorch",
    )
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="instead of measuring: print the figures of several devices",
    )
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
        "--out",
        type=Path,
        metavar="FILE",
        help="file for the figures, and nothing is written beside it (default: RUN/latency.json)",
    )
    return parser


def main(arguments: list[str] | None = None) -> None:
    args = parse(build_parser(), arguments)
    with main_guard():
        if args.compare is not None:
            from supernet.commands.compare_latency import compare

            compare(args)
        elif args.run is not None and exports_in(args.run):
            from supernet.commands.export_latency import export_latency

            export_latency(args)
        else:
            if args.run is not None and args.preset is None:
                RunPlaces(args.run).check()
            from supernet.commands.latency import latency

            latency(args)


if __name__ == "__main__":
    main()
