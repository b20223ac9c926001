"""Checkpoints of other programs in place of runs, and runs with other units."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from supernet.console.text import note
from supernet.errors import ArgumentError
from supernet.pretrained.places import is_checkpoint
from supernet.runs.adoption import adopt, divided, folder_of
from supernet.runs.run import Run, RunError
from supernet.settings.presets import Data, task_setting


def run_of(args: argparse.Namespace, changes: Sequence[Data] = (), divides: bool = False) -> Run:
    """The run that a command names, or one made of the checkpoint that it names, for the corpus ``--task``.

    Args:
        args: The options ``run``, ``task`` and ``granularity``.
        changes: The layers of settings in which ``--set`` changes the corpus.
        divides: Whether ``--granularity`` may name other units than those of a run, of whose full network
            another run is made then.
    """
    if not is_checkpoint(args.run):
        foreign = ["task"] if divides else ["task", "granularity"]
        if given := [name for name in foreign if getattr(args, name) is not None]:
            problems = (f"`{name}` must go with a checkpoint; a run has its own." for name in given)
            raise ArgumentError(given, *problems)
        run = Run.open(args.run)
        if args.granularity in (None, run.config_data().get("granularity")):
            return run
        check_finished(run)
        made = divided(run, args.granularity, changes)
        note(f"The units of the full network of '{run.folder}' are chosen in {made.folder}.")
        return made
    if args.task is None:
        raise ArgumentError(
            ["task"], f"`task` must name the corpus to score '{args.run}' on, but is not given."
        )
    task, granularity = task_setting(args.task), args.granularity or "layer"
    folder = folder_of(Path(args.run), task, granularity)
    run = adopt(Path(args.run), folder, task, granularity, changes)
    note(f"'{args.run}' is scored, and its units are chosen, in {folder}.")
    return run


def check_finished(run: Run) -> None:
    """Raise ``RunError`` if the training of ``run`` has not ended."""
    if not run.is_finished or not run.subnets():
        raise RunError(f"`RUN` must have been trained to the end, but '{run.folder}' has not.")
