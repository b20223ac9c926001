"""``python -m supernet.evaluate RUN``: score a trained run again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, cast

from supernet.batch import SPLITS, Split, Task
from supernet.beam import decoder_for
from supernet.checkpoint import load
from supernet.cli import (
    add_decoding_options,
    add_selection_option,
    choose,
    console,
    main_guard,
    note_left_out,
    open_beam,
    open_selection,
    progress,
    results_table,
)
from supernet.decoding import GREEDY
from supernet.evaluation import score_sizes
from supernet.resolve import resolve
from supernet.run import Run, RunError


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m supernet.evaluate", description="Score the sizes of a trained run."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument(
        "--sizes", "--budgets", dest="sizes", metavar="6,9", help="sizes (or budgets) to score (default: all)"
    )
    parser.add_argument(
        "--split", default="test", metavar="NAME", help="train, valid, test, or a part such as test-clean"
    )
    add_selection_option(parser)
    add_decoding_options(parser)
    args = parser.parse_args(arguments)
    with main_guard():
        console.print(results_table(_score(args), args.split))


def _score(args: argparse.Namespace) -> dict[str, Any]:
    run = Run.open(args.run)
    task = resolve([run.config_data()]).task
    split = _split(args.split, task)
    model = load(run.model_stem)
    selection = open_selection(run, model, args.selection)
    wanted = [c.budget for c in selection.choices] if args.sizes is None else args.sizes.split(",")
    choices = [choose(selection, budget.strip(), "--sizes") for budget in wanted]
    subnets = {choice.budget: choice.subnet for choice in choices}
    strategy = None if args.selection is None else selection.strategy
    decoder = decoder_for(open_beam(args), model.tokens)
    note_left_out(decoder)
    with progress() as report:
        task.prepare(report)
        sizes = score_sizes(run, model, task, subnets, split, report, strategy, decoder)
    title = f"{run.folder.name}, {split}" + ("" if strategy is None else f", chosen by {strategy}")
    if decoder != GREEDY:
        title += f", {decoder.name}"
    return {"title": title, "sizes": sizes}


def _split(name: str, task: Task) -> Split:
    names = [*SPLITS, *task.parts()]
    if name not in names:
        raise RunError(f"`--split` must be one of {', '.join(names)}, but is '{name}' instead.")
    return cast(Split, name)  # to scoring, a part is a split like others


if __name__ == "__main__":
    main()
