"""Score every size of a trained supernet on a split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import torch

from supernet.batch import Batch, Report, Split, Task
from supernet.checkpoint import Model, num_parameters
from supernet.costs import macs, real_time_factor
from supernet.cut import cut
from supernet.decoding import GREEDY, Decoder, texts
from supernet.run import Run
from supernet.scoring import score
from supernet.units import Kept, Subnet

Rows = list[tuple[str, str, str]]
"""Utterance, reference, hypothesis."""


@torch.inference_mode()
def recognise(
    model: Model,
    batches: Iterable[Batch],
    subnets: Mapping[str, Subnet],
    report: Report,
    decoder: Decoder = GREEDY,
) -> dict[str, Rows]:
    """What each subnet writes for every utterance, all subnets in one walk through the supernet."""
    recogniser = model.recogniser
    kept = {label: recogniser.table.kept(subnet) for label, subnet in subnets.items()}
    rows: dict[Kept, Rows] = {k: [] for k in kept.values()}
    for i, batch in enumerate(batches):
        batch.to(recogniser.scores.device)
        for k, log_probs_BSV, lengths, _ in recogniser.score_all(batch, rows):
            said = texts(decoder, log_probs_BSV, lengths, model.tokens)
            rows[k] += zip(batch.ids, batch.texts, said, strict=True)
        report("recognising", i + 1, 0)
    return {label: rows[k] for label, k in kept.items()}


def score_sizes(
    run: Run,
    model: Model,
    task: Task,
    subnets: Mapping[str, Subnet],
    split: Split,
    report: Report,
    strategy: str | None = None,
    decoder: Decoder = GREEDY,
) -> dict[str, Any]:
    """What each subnet costs and how well it does on ``split``, by its label: the ``sizes`` of
    ``results.json``.

    Transcripts go into the run folder, under the names of the ``strategy`` that chose the subnets and of the
    ``decoder`` where these are not the usual.
    """
    sizes = costs(model, task, subnets)
    rows = recognise(model, task.eval_batches(split, model.tokens), subnets, report, decoder)
    for label, lines in rows.items():
        names = [strategy, label, None if decoder == GREEDY else decoder.name]
        run.save_transcripts(split, "-".join(name for name in names if name is not None), lines)
        _, references, hypotheses = zip(*lines, strict=True)
        sizes[label][split] = score(references, hypotheses).as_json()
    return sizes


def costs(model: Model, task: Task, subnets: Mapping[str, Subnet]) -> dict[str, Any]:
    """Parameters, MACs and real-time factor of each subnet, measured on its cut model."""
    sample = list(islice(task.eval_batches("test", model.tokens), 1))
    result = {}
    for label, subnet in subnets.items():
        small = cut(model.recogniser, subnet)
        for batch in sample:
            batch.to(small.scores.device)
        result[label] = {
            "kept": list(subnet.kept),
            "params": num_parameters(small),
            "macs": macs(small),
            "rtf": real_time_factor(small, sample),
        }
    return result
