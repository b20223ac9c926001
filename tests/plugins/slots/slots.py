"""An example of a head without alignment: each slot of the text attends to all frames for its token.

Shapes: N rows of readings, S stream frames, D model dimension, L slots, V tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from supernet.config import Section
from supernet.head import Head
from supernet.system.devices import sent
from supernet.task import Batch

END = 0
"""The blank, which is never spoken, marks the end of the text."""


class SlotsOptions(Section):
    count: int = Field(default=8, ge=2)
    """The maximum number of tokens of an utterance, plus one."""


class Slots(Head):
    """Attention from learned queries to the frames, with a cross-entropy loss on the token of each query."""

    Options = SlotsOptions

    def __init__(self, options: SlotsOptions, dim: int, num_tokens: int) -> None:
        super().__init__(options, dim, num_tokens)
        self.queries = nn.Parameter(torch.randn(options.count, dim))
        self.keys, self.tokens = nn.Linear(dim, dim), nn.Linear(dim, num_tokens)

    def forward(self, x_NSD: Tensor) -> Tensor:
        return x_NSD.to(torch.promote_types(x_NSD.dtype, torch.float32))

    def losses(
        self, emissions_NSE: Tensor, lengths: Sequence[int], batch: Batch, rows: Sequence[int]
    ) -> Tensor:
        logits_NLV = self.logits(emissions_NSE, [lengths[row] for row in rows])
        rows_N = sent(torch.tensor(list(rows)), emissions_NSE.device)
        targets_NL = F.pad(batch.targets_BL[rows_N], (0, len(self.queries)), value=END)
        losses_NL = F.cross_entropy(
            logits_NLV.transpose(1, 2), targets_NL[:, : len(self.queries)], reduction="none"
        )
        return losses_NL.sum(1)

    def decode(self, emissions_NSE: Tensor, lengths: Sequence[int]) -> list[list[int]]:
        found: list[list[int]] = self.logits(emissions_NSE, lengths).argmax(-1).tolist()
        return [row[: row.index(END)] if END in row else row for row in found]

    def logits(self, x_NSD: Tensor, lengths: Sequence[int]) -> Tensor:
        """The logits (N, L, V) of each slot's token, from the valid frames."""
        scores_NLS = self.queries @ self.keys(x_NSD).transpose(1, 2)
        ends_N11 = sent(torch.tensor(lengths), x_NSD.device)[:, None, None]
        is_padding_N1S = torch.arange(x_NSD.size(1), device=x_NSD.device) >= ends_N11
        weights_NLS = scores_NLS.masked_fill(is_padding_N1S, -torch.inf).softmax(-1)
        return self.tokens(weights_NLS @ x_NSD)  # type: ignore[no-any-return]
