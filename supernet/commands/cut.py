"""Cut one size out of a trained run."""

from __future__ import annotations

import argparse
from pathlib import Path

from supernet.commands.card import made_by, write_card
from supernet.console.front import command, say_next
from supernet.console.text import say
from supernet.network.merging import merge_dropped
from supernet.network.supernet_ctc import num_parameters
from supernet.pretrained.places import is_checkpoint
from supernet.runs.cut_model import Cut, origin_of
from supernet.runs.opening import choose, load_with_subnets, open_run
from supernet.runs.run import Run, RunError
from supernet.runs.weight_average import use_average, window_name
from supernet.system.files import refusal


def _check_free(folder: Path) -> None:
    """Raise ``RunError`` if ``folder`` is a run: a cut replaces an earlier cut, but never a run's weights."""
    if folder.exists() and (why := refusal(folder, "folder")):
        raise RunError(f"`--out` must be a folder, but {why}.")
    if Run(folder).config_file.exists() or is_checkpoint(folder):
        what = "a checkpoint" if is_checkpoint(folder) else "a run"
        raise RunError(f"`--out` must be a folder of its own, but '{folder}' is {what}. Name another one.")


def cut(args: argparse.Namespace) -> None:
    """Run the command ``cut``."""
    run = open_run(args.run)
    _check_free(args.out)
    model, selection = load_with_subnets(run, args.selection)
    origin = origin_of(run, selection)
    if args.average is not None:
        use_average(run, model, args.average)
        origin["weights"] = window_name(args.average)
    choice = choose(selection, args.size)
    if args.merge:
        merge_dropped(model.recognizer, choice.subnet)
        origin["layers"] = "merged"
    small = Cut.of(model, choice, origin)
    args.out.mkdir(parents=True, exist_ok=True)
    small.save(args.out)
    write_card(run, [(small, [])], args.out, made_by("cut", args.words), "torch")
    size, kind = small.subnet.size, small.subnet.granularity
    parameters = num_parameters(small.model.recognizer)
    say(f"{args.out}: {size} {kind}{'' if size == 1 else 's'}, {parameters:,} parameters")
    chosen = [] if args.selection is None else ["--selection", args.selection]
    chosen += [] if args.size is None else ["--size", args.size]
    say_next(
        (command("transcribe", args.out, "speech.wav"), "the text of a recording"),
        (command("export", args.run, *chosen), "files for phones, boards and servers"),
    )
