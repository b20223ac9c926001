"""Transcripts of a split by several sizes, with the confidences by every measure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from supernet.recognition.decoding import Decoder, texts
from supernet.runs.model_file import Model
from supernet.scoring.cascades import Outcome, SizeOutcome
from supernet.scoring.confidence import MEASURES, measured
from supernet.scoring.error_rates import count_errors
from supernet.task import ProgressCallback, Task
from supernet.units import Subnet


def recognize_all(
    model: Model,
    task: Task,
    split: str,
    subnets: Mapping[str, Subnet],
    decoder: Decoder,
    report: ProgressCallback,
) -> Outcome:
    """Transcribe a split by each of ``subnets``, and measure all confidences."""
    network = model.recognizer
    network.require_framewise("A cascade")
    kept = {label: network.table.kept(subnet) for label, subnet in subnets.items()}
    ids, references, seconds = list[str](), list[str](), list[float]()
    hypotheses: dict[str, list[str]] = {label: [] for label in kept}
    values: dict[str, dict[str, list[float]]] = {label: {m: [] for m in MEASURES} for label in kept}
    for i, batch in enumerate(task.eval_batches(split, model.tokens)):
        ids, references, seconds = ids + batch.ids, references + batch.texts, seconds + batch.seconds
        batch.to(network.device)
        with torch.inference_mode():
            for scored in network.score_all(batch, kept.values()):
                log_probs_BSV = scored.emissions_BSE.cpu()
                found = texts(decoder, log_probs_BSV, scored.lengths, model.tokens)
                for label in (label for label, k in kept.items() if k == scored.kept):
                    hypotheses[label] += found
                    for row_SV, length in zip(log_probs_BSV.numpy(), scored.lengths, strict=True):
                        for name, list_ in values[label].items():
                            list_.append(measured(name, row_SV[:length]))
        report(f"recognizing {split}", i + 1, 0)
    sizes = {
        label: SizeOutcome(
            hypotheses[label],
            count_errors(references, hypotheses[label]),
            {name: np.array(list_) for name, list_ in values[label].items()},
        )
        for label in kept
    }
    return Outcome(ids, references, np.array(seconds), sizes)
