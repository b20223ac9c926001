"""The head of connectionist temporal classification (CTC, Graves et al. 2006).

Shapes: N rows of readings, S stream frames, D model dimension, V tokens, L targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernet.head import Head
from supernet.network.ctc_recursion import recursive_ctc_loss
from supernet.network.options import NoOptions
from supernet.system.devices import sent
from supernet.task import Batch
from supernet.text.tokens import BLANK_ID


class CTC(Head, nn.Linear):
    """A projection to the log-probability of each token in each frame."""

    Options = NoOptions
    is_framewise = True

    def __init__(self, options: NoOptions, dim: int, num_tokens: int) -> None:
        nn.Linear.__init__(self, dim, num_tokens)

    def forward(self, x_NSD: Tensor) -> Tensor:
        logits_NSV = F.linear(x_NSD, self.weight, self.bias)
        return F.log_softmax(logits_NSV.to(torch.promote_types(logits_NSV.dtype, torch.float32)), dim=-1)

    def losses(
        self, emissions_NSE: Tensor, lengths: Sequence[int], batch: Batch, rows: Sequence[int]
    ) -> Tensor:
        return ctc_loss(emissions_NSE, lengths, batch, rows)

    def decode(self, emissions_NSE: Tensor, lengths: Sequence[int]) -> list[list[int]]:
        """The best path: repetitions collapsed, blanks removed."""
        paths = (path[:n] for path, n in zip(emissions_NSE.argmax(-1).tolist(), lengths, strict=True))
        return [
            [token for i, token in enumerate(path) if token != BLANK_ID and (i == 0 or token != path[i - 1])]
            for path in paths
        ]


def ctc_loss(log_probs_NSV: Tensor, lengths: Sequence[int], batch: Batch, rows: Sequence[int]) -> Tensor:
    """The CTC loss of each row of readings, (N,); ``rows`` holds the index of its utterance in ``batch``."""
    frames, targets = [[numbers[row] for row in rows] for numbers in (lengths, batch.num_targets)]
    if (device := log_probs_NSV.device).type == "cpu":
        targets_NL = batch.targets_BL[rows] if list(rows) != list(range(len(batch))) else batch.targets_BL
        return F.ctc_loss(
            log_probs_NSV.transpose(0, 1),
            targets_NL,
            tuple(frames),  # type: ignore[arg-type]  # host data
            tuple(targets),  # type: ignore[arg-type]
            reduction="none",
            zero_infinity=True,
        )
    # PyTorch would copy the lengths, and wait for the device twice.
    rows_N, frames_N, targets_N = sent(torch.tensor([list(rows), frames, targets]), device)
    return recursive_ctc_loss(
        log_probs_NSV[:, : max(frames)], batch.targets_BL[rows_N, : max(targets)], frames_N, targets_N
    )
