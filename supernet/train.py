"""``python -m supernet.train``: train a supernet, choose its subnets, score every size, end with a table."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from supernet.console.guard import main_guard
from supernet.console.options import add_set_option
from supernet.console.parser import Parser, parse
from supernet.settings.names import nearest, plugin_names, presets, unknown


def build_parser() -> argparse.ArgumentParser:
    """The options; everything else is a setting of the configuration, see --set."""
    parser = Parser(
        name="train",
        description="Train one CTC speech recognizer from which smaller ones are cut without fine-tuning.",
        epilog="Stop with Ctrl-C at any time; the same command continues. Settings: see --settings.",
    )
    add = parser.add_argument
    add(
        "--sizes",
        metavar="6,9,12",
        help="number of units of each size; the largest is the supernet unless a preset is deeper",
    )
    add(
        "--budget",
        metavar="macs=50%,100%",
        help="instead of --sizes: limits on what each subnet costs, in params, macs, latency or units",
    )
    add("--method", metavar="NAME", help=f"training method: {', '.join(plugin_names('method'))}")
    units = ", ".join(plugin_names("granularity"))
    add("--granularity", metavar="UNIT", help=f"the unit that sizes count: {units}")
    add(
        "--task",
        metavar="NAME|PATH",
        help=f"{', '.join(plugin_names('task'))}, or the path of your own corpus",
    )
    add("--preset", metavar="NAME", help=f"settings to start from: {', '.join(presets())}")
    add("--steps", metavar="N", help="number of updates")
    add("--seed", metavar="N", help="random seed")
    add("--device", metavar="NAME", help="cpu, cuda, cuda:1; default: a GPU if there is one")
    add("--out", metavar="DIR", type=Path, help="run folder; default: in runs/, named after the options")
    add("--config", metavar="FILE", type=Path, help="YAML settings, e.g. runs/X/config.yaml to repeat a run")
    add_set_option(parser, "any setting")
    add(
        "--settings",
        dest="listed",
        nargs="?",
        const="",
        metavar="PART",
        help="list all settings, or those with PART in their names, and exit; --task and --method add theirs",
    )
    add("--dry-run", action="store_true", help="print sizes and estimates of memory and time, and exit")
    return parser


def typos(args: argparse.Namespace) -> Iterator[str]:
    """Problems visible without importing plug-ins; with other settings, validation reports all of them."""
    if args.settings or args.config is not None:
        return
    if args.sizes is not None and args.budget is not None:
        yield "`--sizes` and `--budget` exclude each other, but both are given."
    numbers = {"train.num_steps": [args.steps], "seed": [args.seed], "sizes": (args.sizes or "").split(",")}
    for name, texts in numbers.items():
        for text in (text.strip() for text in texts if text and text.strip()):
            if not text.lstrip("-").isdigit():
                yield f"`{name}` must be whole numbers, but is '{text}' instead."
    is_path = args.task is None or os.sep in args.task or Path(args.task).exists()
    if not is_path and args.task not in plugin_names("task"):
        yield unknown("task", args.task)
    if args.method is not None and args.method not in plugin_names("method"):
        yield unknown("method", args.method)
    known = {"preset": presets(), "granularity": plugin_names("granularity")}
    for name, names in known.items():
        text = getattr(args, name)
        if text is not None and text not in names:
            near = nearest(text, names)
            yield f"`{name}` must be one of {', '.join(names)}, but is '{text}' instead.{near}"


def main(arguments: list[str] | None = None) -> None:
    args = parse(build_parser(), arguments, typos)
    with main_guard(exceptions={"folder": "--out", "part": "--settings"}):
        from supernet.commands.train import train

        train(args)


if __name__ == "__main__":
    main()
