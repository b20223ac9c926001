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
from supernet.run import Run
from supernet.scoring import greedy, score
from supernet.units import Subnet

Rows = list[tuple[str, str, str]]
"""Utterance, reference, hypothesis."""


@torch.inference_mode()
def recognise(
    model: Model, batches: Iterable[Batch], subnets: Mapping[int, Subnet], report: Report
) -> dict[int, Rows]:
    """What each subnet writes for every utterance, all subnets in one walk through the supernet."""
    recogniser, rows = model.recogniser, {size: Rows() for size in subnets}
    kept = {size: recogniser.table.kept(subnet) for size, subnet in subnets.items()}
    for i, batch in enumerate(batches):
        batch.to(recogniser.scores.device)
        for size, log_probs_BSV, lengths, _ in recogniser.score_all(batch, kept):
            texts = greedy(log_probs_BSV, lengths, model.tokens)
            rows[size] += zip(batch.ids, batch.texts, texts, strict=True)
        report("recognising", i + 1, 0)
    return rows


def evaluate(
    run: Run, model: Model, task: Task, subnets: Mapping[int, Subnet], split: Split, report: Report
) -> dict[str, Any]:
    """Error rates of each size on ``split``; transcripts go into the run folder."""
    rows = recognise(model, task.eval_batches(split, model.tokens), subnets, report)
    for size, lines in rows.items():
        run.save_transcripts(split, size, lines)
    return {
        str(size): score([r for _, r, _ in lines], [h for _, _, h in lines]).as_json()
        for size, lines in rows.items()
    }


def score_sizes(
    run: Run, model: Model, task: Task, subnets: Mapping[int, Subnet], split: Split, report: Report
) -> dict[str, Any]:
    """What each size costs and how well it does on ``split``: the ``sizes`` of ``results.json``."""
    sizes = costs(model, task, subnets)
    for size, scores in evaluate(run, model, task, subnets, split, report).items():
        sizes[size][split] = scores
    return sizes


def costs(model: Model, task: Task, subnets: Mapping[int, Subnet]) -> dict[str, Any]:
    """Parameters, MACs and real-time factor of each size, measured on its cut model."""
    sample = list(islice(task.eval_batches("test", model.tokens), 1))
    result = {}
    for size, subnet in subnets.items():
        small = cut(model.recogniser, subnet, size)
        for batch in sample:
            batch.to(small.scores.device)
        result[str(size)] = {
            "kept": list(subnet.kept),
            "params": num_parameters(small),
            "macs": macs(small),
            "rtf": real_time_factor(small, sample),
        }
    return result
