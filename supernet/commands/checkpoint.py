"""Checkpoints of other programs in place of runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from supernet.console.text import note
from supernet.errors import ArgumentError
from supernet.pretrained.places import is_checkpoint
from supernet.runs.adoption import adopt, folder_of
from supernet.runs.run import Run
from supernet.settings.presets import Data, task_setting


def run_of(args: argparse.Namespace, changes: Sequence[Data] = ()) -> Run:
    """The run that a command names, or one made of the checkpoint that it names, for the corpus ``--task``.

    Args:
        args: The options ``run``, ``task`` and ``granularity``.
        changes: The layers of settings in which ``--set`` changes the corpus.
    """
    if not is_checkpoint(args.run):
        if given := [name for name in ("task", "granularity") if getattr(args, name) is not None]:
            problems = (f"`{name}` must go with a checkpoint; a run has its own." for name in given)
            raise ArgumentError(given, *problems)
        return Run.open(args.run)
    if args.task is None:
        raise ArgumentError(
            ["task"], f"`task` must name the corpus to score '{args.run}' on, but is not given."
        )
    task, granularity = task_setting(args.task), args.granularity or "layer"
    folder = folder_of(Path(args.run), task, granularity)
    run = adopt(Path(args.run), folder, task, granularity, changes)
    note(f"'{args.run}' is scored, and its units are chosen, in {folder}.")
    return run
