"""The choice between the last weights of a training and their averages, on the validation split."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from supernet.evaluation.score_sizes import ScoringRequest, transcribe_split
from supernet.runs.model_file import Model, save
from supernet.runs.places import RunPlaces
from supernet.scoring.error_rates import COLUMN, Measure, count_errors, count_words, measure_of
from supernet.system.processes import ONE, Processes
from supernet.task import ProgressCallback, Task
from supernet.units import Subnet

Rates = dict[str, float]
"""Error rates by size or budget."""


def keep_better(
    run: RunPlaces,
    model: Model,
    averages: Mapping[str, Tensor],
    task: Task,
    subnets: Mapping[str, Subnet],
    report: ProgressCallback,
    processes: Processes = ONE,
) -> dict[str, Any]:
    """Give ``model``, which has the last weights, the averages if they have a lower error rate on the
    validation split, as a mean over the sizes; save the other ones of the two beside it.

    A mean over the sizes, because all of them come from one network, and each counts alike.

    Args:
        run: The run, in whose folder the others are saved.
        model: The network with its last weights.
        averages: The averages by name of the parameter; the other parameters keep their values.
        task: The corpus.
        subnets: The subnets to judge by.
        report: Called as the work progresses.
        processes: Transcribe the split.

    Returns:
        The entry ``averaging`` of ``results.json``.
    """
    last = {name: value.clone() for name, value in model.recognizer.state_dict().items() if name in averages}
    request = ScoringRequest(subnets, ["valid"], processes=processes)
    measure, rates = _rates(model, task, request, report)
    model.recognizer.load_state_dict(dict(averages), strict=False)
    _, averaged = _rates(model, task, request, report)
    is_better = mean(averaged.values()) < mean(rates.values())
    if is_better:
        model.recognizer.load_state_dict(last, strict=False)
    save(model, run.other_model_stem("last" if is_better else "average"))
    model.recognizer.load_state_dict(dict(averages) if is_better else last, strict=False)
    kept = "average" if is_better else "last"
    return {"kept": kept, "measure": measure, "last": rates, "average": averaged}


@torch.inference_mode()
def _rates(
    model: Model, task: Task, request: ScoringRequest, report: ProgressCallback
) -> tuple[Measure, Rates]:
    """The error rate of each subnet on the validation split, by the measure that its texts are judged by."""
    found = transcribe_split(model, task, request, "valid", report).rows
    rates: Rates = {}
    measure: Measure = "wer"
    for label, rows in found.items():
        _, references, hypotheses = zip(*rows, strict=True)
        measure = measure_of(references)
        errors, counts = count_errors(references, hypotheses).sum(0), count_words(references).sum(0)
        rates[label] = float(errors[COLUMN[measure]] / counts[COLUMN[measure]])
    return measure, rates


def said(averaging: Mapping[str, Any]) -> str:
    """The choice in a line for the user."""
    rates = {kind: mean(averaging[kind].values()) for kind in ("average", "last")}
    kept = "their average" if averaging["kept"] == "average" else "those of the last update"
    return (
        f"weights kept: {kept} (validation {averaging['measure'].upper()}, mean over sizes: averaged "
        f"{rates['average']:.2%}, last {rates['last']:.2%})"
    )
