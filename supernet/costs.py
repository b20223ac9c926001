"""What a subnet costs, read from the network: parameters, MACs, and time against real time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from supernet.batch import Batch
from supernet.features import FRAMES_PER_SECOND, NUM_BANDS
from supernet.model import Recogniser
from supernet.units import Kept

MACS_SECONDS = 10.0


@torch.inference_mode()
def macs(model: Recogniser, seconds: float = MACS_SECONDS, kept: Kept | None = None) -> int:
    """Multiply-accumulates of products and convolutions for ``seconds`` of audio, counted while the model
    (or what ``kept`` says of it) runs.
    """
    frames = round(seconds * FRAMES_PER_SECOND)
    features = torch.zeros(1, frames, NUM_BANDS, device=model.scores.device)
    # The counter knows attention in its plain form only.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.log_probs(features, [frames], model.table.full if kept is None else kept)
    return int(counter.get_total_flops()) // 2


@torch.inference_mode()
def real_time_factor(model: Recogniser, batches: Sequence[Batch], repeats: int = 3) -> float:
    """Seconds of computation per second of audio, one utterance at a time: the median over ``repeats``,
    after a warm-up.
    """
    utterances = [(b.features_BTF[i : i + 1, :n], n) for b in batches for i, n in enumerate(b.num_frames)]
    audio = sum(n for _, n in utterances) / FRAMES_PER_SECOND
    times = [_seconds(model, utterances) for _ in range(repeats + 1)]
    return statistics.median(times[1:]) / audio


def _seconds(model: Recogniser, utterances: Sequence[tuple[torch.Tensor, int]]) -> float:
    start = time.perf_counter()
    for features, n in utterances:
        model.log_probs(features, [n], model.table.full).argmax(-1).tolist()  # waits for the device
    return time.perf_counter() - start
