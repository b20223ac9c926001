"""First-order effect of a unit's gate or weights on the loss.

Shapes: N utterances of all batches, B utterances of one, S stream frames, U units.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selection.measuring.frozen import frozen
from supernet.network.lanes import Gates, Lane, LaneWalk
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.task import Batch, ProgressCallback


def gate_gradients(
    recognizer: SupernetCTC, batches: Iterable[Batch], report: ProgressCallback
) -> NDArray[np.float64]:
    """Derivatives (N, U) of each utterance's CTC loss per stream frame with respect to each unit's gate, at
    gates of 1; utterances in the order of ``batches``.

    Runs the full network forward and backward once per batch; the network stays unchanged.
    """
    batches, parts = list(batches), []
    with frozen(recognizer):
        for i, batch in enumerate(batches):
            parts.append(_of_batch(recognizer, batch))
            report("computing gate gradients", i + 1, len(batches))
    return np.concatenate(parts) if parts else np.zeros((0, len(recognizer.table)))


def _of_batch(recognizer: SupernetCTC, batch: Batch) -> NDArray[np.float64]:
    """Give each utterance a lane with its own gates; all lanes still run together, unit by unit."""
    ours, full = _copy(batch), recognizer.table.full
    ours.to(recognizer.device)
    gates = [
        torch.ones(len(full), device=recognizer.device, dtype=recognizer.dtype, requires_grad=True)
        for _ in range(len(ours))
    ]
    lanes = [Lane(range(row, row + 1), full, Gates(row, gates_U)) for row, gates_U in enumerate(gates)]
    readings = recognizer.walk(ours, lanes, LaneWalk).readings
    lengths = ours.stream_lengths
    x_BSD = torch.cat([reading[FINAL] for reading in readings])
    losses_B = recognizer.losses(x_BSD, len(full), lengths, ours, range(len(ours)))
    per_frame_B = losses_B / losses_B.new_tensor(lengths)
    # An utterance's gates affect only its own loss, so the gradient of the sum holds every utterance's own.
    gradients_BU = torch.stack(torch.autograd.grad(per_frame_B.sum(), gates))
    return gradients_BU.double().cpu().numpy()


def weight_saliency(
    recognizer: SupernetCTC, batches: Iterable[Batch], report: ProgressCallback
) -> NDArray[np.float64]:
    """For each unit (U,), the sum of |w ∂L/∂w| over its weights w, where L is the CTC loss per stream frame
    of all batches together.

    Runs the full network forward and backward once per batch; the network stays unchanged.
    """
    batches, encoder = list(batches), recognizer.encoder
    num_frames = sum(sum(batch.stream_lengths) for batch in batches)
    parameters = list(encoder.parameters())
    totals = [torch.zeros_like(parameter) for parameter in parameters]
    with frozen(recognizer):
        try:
            encoder.requires_grad_(True)
            for i, batch in enumerate(batches):
                loss = _loss(recognizer, batch) / num_frames
                found = torch.autograd.grad(loss, parameters, allow_unused=True)
                for total, gradient in zip(totals, found, strict=True):
                    total.add_(0.0 if gradient is None else gradient)
                report("computing gradients of weights", i + 1, len(batches))
        finally:
            encoder.requires_grad_(False)
    # An encoder of the products has, for each unit, those of its weights.
    products = copy.deepcopy(encoder)
    with torch.no_grad():
        for place, total in zip(products.parameters(), totals, strict=True):
            place.mul_(total).abs_()
        by_unit = products.weights()
        return np.array(
            [sum(float(w.double().sum()) for w in by_unit[u.name]) for u in recognizer.table.units]
        )


def _loss(recognizer: SupernetCTC, batch: Batch) -> Tensor:
    """The CTC loss of the full network, summed over utterances and frames."""
    ours, full = _copy(batch), recognizer.table.full
    ours.to(recognizer.device)
    walk = recognizer.walk(ours, [Lane(range(len(ours)), full)], LaneWalk)
    lengths = ours.stream_lengths
    return recognizer.losses(walk.readings[0][FINAL], len(full), lengths, ours, range(len(ours))).sum()


def _copy(batch: Batch) -> Batch:
    """A copy that autograd can use: tensors moved to a device in inference mode cannot be saved for it."""
    return replace(batch, features_BTF=batch.features_BTF.clone(), targets_BL=batch.targets_BL.clone())
