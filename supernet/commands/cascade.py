"""Fit the threshold of a cascade on the validation split, and score the cascade."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from supernet.commands.evaluate import Checked, check_request
from supernet.commands.options import note_left_out, suggesting_to_fit
from supernet.console.fitted import Fitted
from supernet.console.front import command, say_next
from supernet.console.progress import progress
from supernet.console.screen import console
from supernet.console.text import note
from supernet.evaluation.alignment import page, trn
from supernet.evaluation.cascade import recognize_all
from supernet.network.model_costs import macs, stage_macs, stage_timings
from supernet.recognition.beam import decoder_for
from supernet.recognition.decoding import Decoder
from supernet.reporting.cascade_picture import draw_cascade
from supernet.runs.confidence_file import read_confidences, save_cascade
from supernet.runs.selection_file import Choice
from supernet.scoring.cascades import (
    Outcome,
    Point,
    Rule,
    areas,
    calibrate,
    cascade_rows,
    curve_of,
    fit,
    point,
    score_rows,
    share_right,
)
from supernet.scoring.confidence import Confidences, cascade_name, threshold_of
from supernet.scoring.target import Target
from supernet.system.timing import BUSY
from supernet.task import ProgressCallback

_MOST_ROWS = 9
"""Most thresholds in the table, spread over the costs."""


@dataclass(frozen=True)
class Scene:
    """A cascade of a run, with the costs of its sizes."""

    checked: Checked
    decoder: Decoder
    alone: dict[str, tuple[int, float]]
    """MACs and milliseconds of each size for 10 s of audio."""
    added: tuple[int, ...]
    """MACs that each size adds to those before it."""
    reached: tuple[float, ...]
    """Milliseconds up to the end of each size."""
    is_busy: bool
    """Whether the machine was busy while the times were measured."""

    @classmethod
    def of(cls, checked: Checked) -> Scene:
        network, choices = checked.model.recognizer, checked.choices
        kept = [network.table.kept(choice.subnet) for choice in choices]
        alone = [stage_timings(network, [k])[0] for k in kept]
        reached = stage_timings(network, kept)
        costs = {
            choice.budget: (macs(network, kept=k), 1000 * timing.best)
            for choice, k, timing in zip(choices, kept, alone, strict=True)
        }
        milliseconds = tuple(1000 * timing.best for timing in reached)
        is_busy = any(timing.is_busy for timing in (*alone, *reached))
        decoder = decoder_for(checked.beam, checked.model.tokens)
        return cls(checked, decoder, costs, tuple(stage_macs(network, kept)), milliseconds, is_busy)

    @property
    def sizes(self) -> tuple[str, ...]:
        return tuple(self.alone)

    @property
    def name(self) -> str:
        return cascade_name(self.sizes)

    def label(self, split: str) -> str:
        """The name of the files of a split."""
        return "-".join([split, *self.checked.marks, f"cascade-{self.name}"])

    def rule(self, measure: str) -> Rule:
        return Rule(measure, self.sizes, self.added, self.reached)

    def recognize(self, split: str, choices: Sequence[Choice], report: ProgressCallback) -> Outcome:
        """Transcribe a split by each of ``choices``."""
        checked = self.checked
        subnets = {choice.budget: choice.subnet for choice in choices}
        return recognize_all(checked.model, checked.task, split, subnets, self.decoder, report)

    def alone_on(self, outcome: Outcome, measure: str) -> dict[str, Point]:
        """Each size alone."""
        return {
            size: point(outcome, Rule(measure, (size,), (cost,), (ms,)), 0.0)
            for size, (cost, ms) in self.alone.items()
        }


def evaluate_cascade(args: argparse.Namespace) -> None:
    """Run the command ``evaluate`` for a cascade."""
    scene = _scene(args)
    checked, target = scene.checked, args.threshold
    note_left_out(scene.decoder)
    with progress() as report:
        splits = [*(["valid"] if target is not None else []), *checked.splits]
        checked.task.prepare_for(list(dict.fromkeys(splits)), checked.model.tokens, report)
        for remark in checked.task.remarks(checked.splits, checked.model.tokens):
            note(remark)
        if target is None:
            confidences = read_confidences(checked.run, checked.selection)
        else:
            confidences = _fit(scene, target, report)
        threshold = threshold_of(confidences, scene.sizes, None)
        outcomes = {split: scene.recognize(split, checked.choices, report) for split in checked.splits}
    for split, outcome in outcomes.items():
        _show(scene, split, outcome, confidences, threshold)
    chosen_by = [] if args.selection is None else ["--selection", args.selection]
    transcribe = command("transcribe", checked.run.folder, *chosen_by, "--cascade", scene.name, "speech.wav")
    say_next((transcribe, "the text of a recording"))


def _scene(args: argparse.Namespace) -> Scene:
    checked = check_request(args)
    if args.threshold is None:  # before the corpus is read
        known = read_confidences(checked.run, checked.selection)
        with suggesting_to_fit(args.run, args.cascade):
            threshold_of(known, [choice.budget for choice in checked.choices], None)
    scene = Scene.of(checked)
    run = checked.run
    run.prepare_transcripts(scene.label(split) for split in checked.splits)
    run.prepare(run.pictures, *([] if args.threshold is None else [run.confidence_file("run").parent]))
    return scene


def _fit(scene: Scene, target: Target, report: ProgressCallback) -> Confidences:
    """Calibrate all sizes of the selection on the validation split, and fit the threshold of the cascade."""
    checked = scene.checked
    outcome = scene.recognize("valid", checked.selection.choices, report)
    measure, sizes = calibrate(outcome)
    rule, largest = scene.rule(measure), scene.sizes[-1]
    found = fit(outcome, rule, scene.alone[largest][0], target)
    alone = {size: _facts(outcome, p) for size, p in scene.alone_on(outcome, measure).items()}
    facts = {"threshold": found.threshold, "target": str(target), "valid": _facts(outcome, found)}
    facts["valid_alone"] = alone
    rates = {size: row[outcome.measure] for size, row in alone.items()}
    if rates[largest] > min(rates.values()):
        note(
            f"On the validation split, {largest} has more errors than a smaller size of the cascade, so that "
            "going on cannot help much."
        )
    return save_cascade(checked.run, checked.selection, measure, sizes, scene.name, facts)


def _show(scene: Scene, split: str, outcome: Outcome, confidences: Confidences, threshold: float) -> None:
    """Print the table of a split, and save its picture and its transcripts."""
    measure = confidences.measure
    rule, run, task = scene.rule(measure), scene.checked.run, scene.checked.task
    title = ", ".join([run.name, *scene.checked.marks, f"cascade {scene.name}", split])
    console.print(_table(title, scene, outcome, measure, threshold))
    label = scene.label(split)
    alone, used = scene.alone_on(outcome, measure), point(outcome, rule, threshold)
    drawn = draw_cascade(f"{scene.name}, {split}", outcome.measure, curve_of(outcome, rule), used, alone)
    run.save_pictures({label: drawn.png})
    rows, speakers = cascade_rows(outcome, rule, threshold), task.speakers(split)
    score = score_rows(rows, outcome.measure)
    run.save_transcripts(label, rows, trn(rows, speakers), page(title, rows, score, speakers))
    rate, (low, high) = f"{outcome.measure.upper()} {score.rate:.2%}", score.rate_ci95
    console.print(f"{rate} (95 % interval {low:.2%} to {high:.2%}). {run.pictures / label}.png")
    for size in (size for size in scene.sizes if size in confidences.calibrations):
        right, expected = share_right(outcome, size, confidences)
        console.print(
            f"{size}: {right:.1%} of the transcripts have no error, {expected:.1%} are expected to."
        )


def _table(title: str, scene: Scene, outcome: Outcome, measure: str, threshold: float) -> Fitted:
    """The sizes alone, the cascade, and some other thresholds."""
    rule, first = scene.rule(measure), areas(outcome)[scene.sizes[0]]
    curves = ", ".join(f"{name} {'–' if area is None else f'{area:.3f}'}" for name, area in first.items())
    notes = [
        f"Confidence: {measure}. Area under the ROC curve at size {scene.sizes[0]}: {curves}.",
        "MACs and ms: averages for 10 s of audio, where each size continues from the layers that it shares "
        "with an earlier one.",
    ]
    notes += [f"ms: {BUSY[0].lower()}{BUSY[1:]}"] * scene.is_busy
    table = Fitted(title, "\n".join(notes), boxed=True)
    table.add_column("threshold", left=True)
    for name in ("MACs", "ms", outcome.measure.upper(), *(f"by {size}" for size in scene.sizes)):
        table.add_column(name)
    for size, alone in scene.alone_on(outcome, measure).items():
        table.add_row(f"{size} alone", *_cells(alone))
    table.add_section()
    chosen = point(outcome, rule, threshold)
    table.add_row(f"{threshold:.6g} (used)", *_cells(chosen), *(f"{share:.1%}" for share in chosen.shares))
    table.add_section()
    for other in _spread(curve_of(outcome, rule)):
        table.add_row(f"{other.threshold:.6g}", *_cells(other), *(f"{share:.1%}" for share in other.shares))
    return table


def _cells(found: Point) -> tuple[str, ...]:
    return f"{found.macs / 1e9:.3f} G", f"{found.milliseconds:.1f}", f"{found.rate:.2%}"


def _spread(points: Sequence[Point]) -> list[Point]:
    """Some of ``points``, evenly spread over the costs."""
    low, high = points[0].macs, points[-1].macs
    wanted = [low + (high - low) * i / (_MOST_ROWS - 1) for i in range(_MOST_ROWS)]
    nearest = [min(points, key=lambda p: abs(p.macs - cost)) for cost in wanted]
    return sorted({p.threshold: p for p in nearest}.values(), key=lambda p: p.macs)


def _facts(outcome: Outcome, found: Point) -> dict[str, Any]:
    """A point for the file."""
    return {outcome.measure: found.rate, "macs": found.macs, "shares": list(found.shares)}
