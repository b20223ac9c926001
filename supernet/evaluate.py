"""``python -m supernet.evaluate RUN``: score a trained run again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from supernet.batch import Split
from supernet.checkpoint import load
from supernet.cli import choose_subnet, console, main_guard, progress, results_table
from supernet.evaluation import score_sizes
from supernet.resolve import ConfigError, resolve
from supernet.run import Run


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m supernet.evaluate", description="Score the sizes of a trained run."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--sizes", metavar="6,9", help="sizes to score (default: all)")
    parser.add_argument("--split", choices=get_args(Split), default="test")
    parser.add_argument(
        "--selection", type=Path, metavar="FILE", help="score this selection instead of the run's own sizes"
    )
    args = parser.parse_args(arguments)
    with main_guard():
        console.print(results_table(_score(args), args.split))


def _score(args: argparse.Namespace) -> dict[str, Any]:
    run = Run.open(args.run)
    task = resolve([run.config_data()]).task
    model = load(run.model_stem)
    if args.sizes is None and args.selection is None:
        subnets = run.subnets()
    else:
        wanted = [None] if args.sizes is None else _sizes(args.sizes)
        subnets = dict(choose_subnet(run, model, size, args.selection) for size in wanted)
    with progress() as report:
        task.prepare(report)
        sizes = score_sizes(run, model, task, subnets, args.split, report)
    return {"title": f"{run.folder.name}, {args.split}", "sizes": sizes}


def _sizes(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError([f"`--sizes` must be numbers, e.g. 6,9, but is '{text}' instead."]) from None


if __name__ == "__main__":
    main()
