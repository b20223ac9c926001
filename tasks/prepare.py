"""``python -m tasks.prepare librispeech --path … --out …``: a manifest folder, made once and checked."""

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
        description="Make the manifests of a corpus, look at every utterance, and list every problem. "
        "`--task OUT` trains on the outcome.",
    )
    parser.add_argument(
        "task", metavar="NAME|PATH", help=f"{', '.join(plugin_names('task'))}, or the path of your own corpus"
    )
    parser.add_argument("--path", metavar="PATH", help="where the corpus lies")
    parser.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="a new folder")
    add_set_option(parser, "an option of the task, such as train=[train-clean-100]", "a=b")
    parser.add_argument(
        "--decode", action="store_true", help="decode all audio, too, instead of reading its headers; slow"
    )
    return parser


def main(arguments: list[str] | None = None) -> None:
    args = parse(build_parser(), arguments)
    with main_guard():
        from tasks.commands.prepare import prepare

        prepare(args)


if __name__ == "__main__":
    main()
