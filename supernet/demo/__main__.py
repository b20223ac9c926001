"""``python -m supernet.demo RUN``: try the sizes of a run on a page in the browser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from supernet.console.guard import main_guard
from supernet.console.parser import OneOf, Parser, parse, whole
from supernet.runs.places import RunPlaces
from supernet.runtime.precision import FULL, PRECISIONS

PORT, LAST_PORT = 8000, 65535


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        name="demo",
        description="Serve a page, to this machine only, on which the sizes of a run recognize speech in the "
        "browser, or write it as files.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument(
        "--export",
        type=Path,
        metavar="FOLDER",
        help="the export with all sizes (default: RUN/export/on-demand or RUN/export/shared)",
    )
    parser.add_argument(
        "--precision",
        type=OneOf(*PRECISIONS),
        metavar="|".join(PRECISIONS),
        default=FULL,
        help=f"the weights (default: {FULL})",
    )
    parser.add_argument(
        "--onnxruntime-web",
        type=Path,
        metavar="FOLDER",
        help="the unpacked npm package onnxruntime-web (default: downloaded once, and kept in the cache)",
    )
    parser.add_argument(
        "--port", type=whole(0), default=PORT, metavar="N", help=f"default: {PORT}; 0: any free port"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write the page and its files there, for any web server"
    )
    return parser


def _problems(args: argparse.Namespace) -> Iterator[str]:
    if args.port is not None and args.port > LAST_PORT:
        yield f"`--port` must be at most {LAST_PORT}, but is {args.port} instead."


def main(arguments: list[str] | None = None) -> None:
    args = parse(build_parser(), arguments, _problems)
    with main_guard(kept=""):
        RunPlaces(args.run).check()
        from supernet.commands.demo import demo

        demo(args)


if __name__ == "__main__":
    main()
