"""``supernet prepare librispeech --path … --out …``: convert a corpus to a validated manifest folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from supernet.console.guard import main_guard
from supernet.console.options import add_set_option
from supernet.console.parser import Parser, parse
from supernet.settings.names import plugin_names


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        name="prepare",
        description="Convert a corpus to manifests, validate every utterance, and list every problem. "
        "Train on the result with `--task OUT`.",
    )
    parser.add_argument(
        "task", metavar="NAME|PATH", help=f"{', '.join(plugin_names('task'))}, or the path of a custom corpus"
    )
    parser.add_argument("--path", metavar="PATH", help="path of the corpus")
    parser.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="a new folder")
    add_set_option(parser, "an option of the task, such as train=[train-clean-100]", "a=b")
    parser.add_argument(
        "--decode", action="store_true", help="decode all audio instead of reading headers only; slow"
    )
    return parser


def main(arguments: list[str] | None = None) -> None:
    args = parse(build_parser(), arguments)
    with main_guard():
        from tasks.commands.prepare import prepare

        prepare(args)


if __name__ == "__main__":
    main()
