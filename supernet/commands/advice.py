"""What to do after a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from supernet.console.front import command, say_next
from supernet.scoring.error_rates import judged_by

SILENT = 0.8
"""The test error rate from which on a net is taken for one that has not begun to write."""


def left_out(results: Mapping[str, Any]) -> str | None:
    """How many updates were left out and why, if any were."""
    if not (number := results.get("skipped_updates", 0)):
        return None
    return (
        f"{number:,} of {results['steps']:,} updates were left out: their gradients were not finite. The "
        "rate was too high, or the precision too low: try a lower `train.lr`, or `train.precision=float32`."
    )


def unlearned(results: Mapping[str, Any]) -> str | None:
    """What to do about sizes that get hardly anything right, if there are any."""
    measure = judged_by(results)
    silent = [size for size, row in results["sizes"].items() if row["test"][measure] >= SILENT]
    if not silent:
        return None
    what = "word" if measure == "wer" else "character"
    who = f"sizes {', '.join(silent)} write" if len(silent) > 1 else f"size {silent[0]} writes"
    return (
        f"{who} hardly a {what} right yet. A CTC net begins to write after some hundred updates, a deep one "
        "later, and at a high rate perhaps never: train for longer (--steps) or at a lower rate "
        "(--preset early-peak)."
    )


def say_what_next(folders: Sequence[Path]) -> None:
    """The commands for a trained run, or for the first of several, each of one size."""
    run = folders[0]
    several = (command("select", run), "other sizes, and other ways to choose units")
    alone = (command("export", run, "--int8"), "files for phones, boards and servers")
    say_next(
        (command("evaluate", run, "--by", "speaker,length"), "error rates by group"),
        (command("transcribe", run, "speech.wav"), "the text of a recording"),
        several if len(folders) == 1 else alone,
    )
