"""Cascades: a small size first, the next one only for chunks where its confidence is low.

Shapes: B chunks, S samples or stream frames, T frames, V tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from supernet.network.continuing import Continuing
from supernet.network.supernet_ctc import SupernetCTC
from supernet.recognition.pipeline import Recognized, loud_parts
from supernet.scoring.confidence import Confidences, goes_on, measured
from supernet.units import Kept


@dataclass(frozen=True)
class Stage:
    """A size of a cascade."""

    budget: str
    kept: Kept


@dataclass(frozen=True, eq=False)
class Cascade:
    """Recognizes chunks with one or more sizes, the smallest first; a ``LogProbs``.

    The next size continues from the last layer that an earlier one shares with it, and runs only the chunks
    whose confidence is below the threshold.
    """

    model: SupernetCTC
    stages: tuple[Stage, ...]
    threshold: float
    confidences: Confidences

    @torch.inference_mode()
    def __call__(self, samples: Sequence[Tensor]) -> list[Recognized]:
        return loud_parts(self.model, samples, self._run)

    def _run(self, features_BTF: Tensor, num_frames: Sequence[int]) -> list[Recognized]:
        batch = Continuing.begin(self.model, features_BTF, num_frames, [stage.kept for stage in self.stages])
        found, rows = dict[int, Recognized](), list(range(len(num_frames)))
        for i, stage in enumerate(self.stages):
            log_probs_BSV, batch = batch.run(i)
            log_probs_BSV, unsure = log_probs_BSV.cpu(), []
            for j, row in enumerate(rows):
                # A view would keep the whole batch in memory.
                log_probs_SV = log_probs_BSV[j, : batch.lengths[j]].clone()
                confidence = self._confidence(i, log_probs_SV)
                probability = self.confidences.probability(stage.budget, confidence)
                found[row] = Recognized(log_probs_SV, probability, sum(stage.kept))
                if self._has_next(i) and goes_on(confidence, self.threshold):
                    unsure.append(j)
            if not unsure:
                break
            batch, rows = batch.rows(unsure), [rows[j] for j in unsure]
        return [found[row] for row in range(len(num_frames))]

    def _has_next(self, i: int) -> bool:
        return i + 1 < len(self.stages)

    def _confidence(self, i: int, log_probs_SV: Tensor) -> float:
        """The confidence of the stage at ``i``; 1 if nothing depends on it."""
        if not self._has_next(i) and self.stages[i].budget not in self.confidences.calibrations:
            return 1.0
        return measured(self.confidences.measure, log_probs_SV.numpy())
