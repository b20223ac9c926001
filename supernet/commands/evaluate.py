"""Score the sizes of a trained run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supernet.commands.checkpoint import run_of
from supernet.commands.options import corpus_changes, note_left_out, open_beam
from supernet.console.front import command, say_next
from supernet.console.progress import progress
from supernet.console.screen import console
from supernet.console.tables import groups_table, results_table
from supernet.console.text import note
from supernet.errors import Checks
from supernet.evaluation.score_sizes import Evaluation, ScoringRequest, SplitTranscripts, score_sizes
from supernet.pretrained.places import is_checkpoint
from supernet.recognition.beam import BeamConfig, decoder_for
from supernet.recognition.decoding import GREEDY
from supernet.recognition.streaming.chunk_option import chunking_of
from supernet.runs.model_file import Model
from supernet.runs.opening import choose, open_model, open_selection
from supernet.runs.resolve import resolve_trained
from supernet.runs.run import Run, RunError
from supernet.runs.selection_file import Choice, Selection
from supernet.runs.weight_average import use_average, window_name
from supernet.scoring.confidence import check_ascending
from supernet.scoring.error_rates import Score
from supernet.settings.presets import Data
from supernet.system.files import safe_name
from supernet.system.processes import processes_for
from supernet.task import SPLITS, Task

_GROUPS: dict[str, Callable[[SplitTranscripts], Mapping[str, Mapping[str, Score]]]] = {
    "speaker": SplitTranscripts.by_speaker,
    "length": SplitTranscripts.by_length,
}


def evaluate(args: argparse.Namespace) -> None:
    """Run the command ``evaluate``."""
    title, groups, found = _score(args)
    for split in found.transcripts:
        results = {"title": f"{title}, {split}", "sizes": found.sizes}
        console.print(results_table(results, split))
        for group in groups:
            console.print(
                groups_table(f"by {group}, {split}", group, _GROUPS[group](found.transcripts[split]))
            )
    say_next(
        (command("transcribe", args.run, "speech.wav"), "the text of a recording"),
        (command("select", args.run), "other sizes, and other ways to choose units"),
    )


def _some_of(names: Sequence[str], text: str, option: str) -> list[str]:
    """The ``names`` that ``text`` lists. Raises ``RunError`` about ``option`` for others."""
    wanted = [part.strip() for part in text.split(",")]
    if unknown := [part for part in wanted if part not in names]:
        raise RunError(f"`{option}` must be some of {', '.join(names)}, but has '{unknown[0]}' instead.")
    return [name for name in names if name in wanted]


def _condition(args: argparse.Namespace, data: Data) -> list[Data]:
    """The changes of ``--set``, checked against the run's configuration ``data``."""
    changes = corpus_changes(args.settings)
    moved = bool(changes) and all(_has_moved(change["task"], data.get("task")) for change in changes)
    if bool(changes) != (args.name is not None) and not moved:
        raise RunError(
            "`--set` and `--name` must come together, but one is missing: transcripts of another condition "
            "or corpus need a name of their own, such as --name noisy (a corpus that has only moved needs "
            "none)."
        )
    if args.name is not None:
        safe_name(args.name, "--name")
    return changes


def _has_moved(new: Any, old: Any) -> bool:
    """Whether ``new`` only gives new places of files or folders of ``old`` that no longer exist."""
    if isinstance(new, Mapping) and isinstance(old, Mapping):
        return all(_has_moved(value, old.get(key)) for key, value in new.items())
    return isinstance(new, str) and isinstance(old, str) and os.sep in old and not Path(old).exists()


@dataclass(frozen=True)
class Checked:
    """The valid arguments of the command, with everything opened that they name."""

    run: Run
    task: Task
    model: Model
    selection: Selection
    choices: tuple[Choice, ...]
    """The requested sizes, or those of the cascade."""
    splits: list[str]
    groups: list[str]
    """The requested groups of utterances."""
    beam: BeamConfig | None
    marks: list[str]
    """Added to the names of transcripts."""


def check_request(args: argparse.Namespace) -> Checked:
    """Check all arguments, and report all problems together."""
    is_foreign, checks = is_checkpoint(args.run), Checks()
    run = run_of(args, corpus_changes(args.settings) if is_foreign else ())
    data = run.config_data()
    with checks:
        groups = [] if args.by is None else _some_of(tuple(_GROUPS), args.by, "--by")
    with checks:
        task = resolve_trained(data, *([] if is_foreign else _condition(args, data))).task
        splits = _some_of([*SPLITS, *task.parts()], args.split, "--split")
    with checks:
        beam = open_beam(args)
    with checks:
        model = open_model(run, args.device)
        selection = open_selection(run, model, args.selection)
        option, named = ("sizes", args.sizes) if args.cascade is None else ("cascade", args.cascade)
        wanted = [c.budget for c in selection.choices] if named is None else named.split(",")
        choices = tuple(choose(selection, budget.strip(), option) for budget in wanted)
        if args.cascade is not None:
            check_ascending([(choice.budget, choice.subnet.size) for choice in choices])
        if args.average is not None:
            use_average(run, model, args.average)
        if args.chunk is not None:
            model.recognizer.encoder.chunking = chunking_of(model.recognizer, args.chunk)
    checks.end()
    marks = [] if args.name is None else [args.name]
    marks += [] if args.selection is None else [selection.strategy]
    marks += [] if args.average is None else [window_name(args.average)]
    marks += [] if args.chunk is None else [f"chunk-{args.chunk}"]
    return Checked(run, task, model, selection, choices, splits, groups, beam, marks)


def _score(args: argparse.Namespace) -> tuple[str, list[str], Evaluation]:
    """The title, the requested groups of utterances, and the results."""
    found = check_request(args)
    subnets = {choice.budget: choice.subnet for choice in found.choices}
    decoder = decoder_for(found.beam, found.model.tokens)
    note_left_out(decoder)
    with progress() as report:
        found.task.prepare_for(found.splits, found.model.tokens, report)
        for remark in found.task.remarks(found.splits, found.model.tokens):
            note(remark)
        processes = processes_for("auto", None, found.model.recognizer.device.type == "cpu")
        request = ScoringRequest(subnets, found.splits, found.marks, decoder, processes)
        results = score_sizes(found.run, found.model, found.task, request, report)
    strategy = args.selection and f"chosen by {found.selection.strategy}"
    average = args.average and window_name(args.average).replace("-", " ", 1)
    chunk, beam = args.chunk and f"chunks of {args.chunk}", None if decoder == GREEDY else decoder.name
    parts = [found.run.name, args.name, strategy, average, chunk, beam]
    return ", ".join(part for part in parts if part is not None), found.groups, results
