"""Warnings and suggestions after a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from supernet.console.front import command, say_next
from supernet.scoring.error_rates import judged_by

BLANK_RATE = 0.8
"""The test error rate at or above which a network is assumed to be in the blank plateau."""


def left_out(results: Mapping[str, Any]) -> str | None:
    """A warning about skipped updates, if there were any."""
    if not (number := results.get("skipped_updates", 0)):
        return None
    return (
        f"{number:,} of {results['steps']:,} updates were skipped because their gradients were not finite. "
        "The learning rate is too high or the precision too low: try a lower `train.lr`, or "
        "`train.precision=float32`."
    )


def unlearned(results: Mapping[str, Any]) -> str | None:
    """A warning about sizes or budgets whose networks recognize hardly anything, if there are any."""
    measure = judged_by(results)
    silent = [size for size, row in results["sizes"].items() if row["test"][measure] >= BLANK_RATE]
    if not silent:
        return None
    what = "word" if measure == "wer" else "character"
    kind = "size" if silent[0].isdecimal() else "budget"
    who = f"{kind}s {', '.join(silent)} get" if len(silent) > 1 else f"{kind} {silent[0]} gets"
    return (
        f"{who} hardly a {what} right yet. A CTC network leaves the blank plateau after a few hundred "
        "updates, a deep one later, and perhaps never at a high learning rate: train for longer (--steps) "
        "or with a lower peak (--preset early-peak)."
    )


def say_what_next(folders: Sequence[Path]) -> None:
    """Suggest commands for a trained run, or for the first of several runs of one size each."""
    run = folders[0]
    several = (command("select", run), "other sizes, and other ways to choose units")
    alone = (command("export", run, "--int8"), "files for phones, boards and servers")
    say_next(
        (command("evaluate", run, "--by", "speaker,length"), "error rates by group"),
        (command("transcribe", run, "speech.wav"), "the text of a recording"),
        several if len(folders) == 1 else alone,
    )
