"""Distillation (arXiv 1503.02531, without a temperature): the output of a trained network in each frame as
soft targets, beside the transcripts.

In most frames, CTC is sure of the blank in both networks. They teach little and would dominate the loss, so
only those count in which the best token of one of the two is not the blank (arXiv 2506.01503).

Shapes: B utterances, N readings, T frames, S stream frames, V tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.network.passes import Term
from supernet.system.devices import sent
from supernet.task import Batch
from supernet.text.tokens import BLANK_ID
from supernet.units import Kept

if TYPE_CHECKING:
    from supernet.network.supernet_ctc import SupernetCTC


class Teacher:
    """A trained network that the final outputs of all passes imitate; no part of the network that learns.

    Args:
        net: The network.
        kept: The units of it to run.
        weight: The weight of imitating it in the loss; that of the transcripts is the rest.
    """

    def __init__(self, net: SupernetCTC, kept: Kept, weight: float) -> None:
        self._net, self._kept, self.weight = net.eval().requires_grad_(False), kept, weight

    def log_probs(self, batch: Batch) -> Tensor:
        """The log-probabilities (B, S, V) for a batch, of which nothing is hidden from the teacher."""
        with torch.no_grad():
            return self._net.to(batch.features_BTF.device).log_probs(
                batch.features_BTF, batch.num_frames, self._kept
            )


def imitation_losses(found_NSV: Tensor, wanted_NSV: Tensor, lengths: Sequence[int]) -> Tensor:
    """The Kullback-Leibler divergence from the teacher's to the found distribution, summed over the frames
    of each reading (N,) in which the best token of one of them is not blank.

    Args:
        found_NSV: Log-probabilities.
        wanted_NSV: Those of the teacher.
        lengths: The valid frames of each reading.
    """
    lengths_N1 = sent(torch.tensor(lengths), found_NSV.device)[:, None]
    is_valid_NS = torch.arange(found_NSV.size(1), device=found_NSV.device) < lengths_N1
    is_telling_NS = (found_NSV.argmax(-1) != BLANK_ID) | (wanted_NSV.argmax(-1) != BLANK_ID)
    divergence_NSV = F.kl_div(found_NSV, wanted_NSV, reduction="none", log_target=True)
    return divergence_NSV.sum(-1).masked_fill(~(is_valid_NS & is_telling_NS), 0.0).sum(1)


def taught(
    losses_N: Tensor,
    emissions_NSV: Tensor,
    wanted_BSV: Tensor,
    weight: float,
    lengths: Sequence[int],
    terms: Sequence[Term],
) -> Tensor:
    """The losses of readings, with the imitation of the teacher as its share of those of final outputs.

    Args:
        losses_N: The losses of the transcripts.
        emissions_NSV: The log-probabilities of all readings, one term after another.
        wanted_BSV: Those of the teacher for the batch.
        weight: The share of the imitation.
        lengths: The valid frames of each utterance of the batch.
        terms: The terms of the readings.
    """
    parts, start = [], 0
    for term in terms:
        stop = start + len(term.rows)
        part_N = losses_N[start:stop]
        if term.is_final:
            wanted_NSV = wanted_BSV[term.rows.start : term.rows.stop]
            own = [lengths[row] for row in term.rows]
            imitation_N = imitation_losses(emissions_NSV[start:stop], wanted_NSV, own)
            part_N = (1 - weight) * part_N + weight * imitation_N
        parts.append(part_N)
        start = stop
    return torch.cat(parts)
