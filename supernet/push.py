"""``python -m supernet.push RUN --to user/name``: publish exports and cut models on Hugging Face."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from supernet.console.guard import main_guard
from supernet.console.parser import Parser, parse

_NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        name="push",
        description="Publish the exports of a run, or one export or cut model, on Hugging Face. Without "
        "--upload, only list what would be uploaded.",
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="RUN", help="run folder with exports, an export, or a cut model")
    add("--to", metavar="USER/NAME", help="the repository; it is made if there is none")
    add("--out", type=Path, metavar="DIR", help="write what would be uploaded to a folder")
    add("--upload", action="store_true", help="upload it, with the login of `hf auth login`")
    add("--public", action="store_true", help="make a new repository public (default: private)")
    add("--license", metavar="ID", help="license, such as mit (default: that of the checkpoint's card)")
    return parser


def typos(args: argparse.Namespace) -> Iterator[str]:
    """Problems of the options."""
    if args.to is None and args.out is None:
        yield "`--to` must name a repository, or `--out` a folder, but neither is given."
    if args.to is not None and _NAME.fullmatch(args.to) is None:
        yield f"`--to` must be a user and a name, such as me/small-model, but is '{args.to}' instead."
    if args.upload and args.to is None:
        yield "`--upload` must come with `--to`, but there is none."


def main(arguments: list[str] | None = None) -> None:
    args = parse(build_parser(), arguments, typos)
    with main_guard(kept="The same command continues."):
        from supernet.commands.push import push

        push(args)


if __name__ == "__main__":
    main()
