"""The costs of a model as a whole, read from the network or measured on this machine: MACs, latency, and the
real-time factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from supernet.network.continuing import Continuing
from supernet.network.supernet_ctc import SupernetCTC
from supernet.system.timing import Timing, timed
from supernet.task import Batch
from supernet.units import Kept

MACS_SECONDS = 10.0
"""The length of the audio for which costs are given."""
REPEATS = 15
WARM_UP = 3
"""Uncounted runs at the start, in which memory is allocated and kernels are selected."""


@torch.no_grad()  # in inference mode, the counter takes every operation apart in Python
def macs(model: SupernetCTC, seconds: float = MACS_SECONDS, kept: Kept | None = None) -> int:
    """Multiply-accumulates of matrix products and convolutions for ``seconds`` of audio, counted while the
    model (or only its ``kept`` units) runs.
    """
    frames = round(seconds * model.input.rate)
    features = torch.zeros(1, frames, model.input.width, device=model.device)
    # The counter recognizes only unfused attention.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.log_probs(features, [frames], model.table.full if kept is None else kept)
    return int(counter.get_total_flops()) // 2


@torch.no_grad()
def stage_macs(model: SupernetCTC, subnets: Sequence[Kept], seconds: float = MACS_SECONDS) -> list[int]:
    """Multiply-accumulates for ``seconds`` of audio of each of ``subnets`` that run one after the other."""
    frames = round(seconds * model.input.rate)
    features = torch.zeros(1, frames, model.input.width, device=model.device)
    found = []
    # The counter recognizes only unfused attention.
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as counter:
            batch = Continuing.begin(model, features, [frames], subnets)
        spent = counter.get_total_flops()
        for i in range(len(subnets)):
            with FlopCounterMode(display=False) as counter:
                _, batch = batch.run(i)
            found.append((spent + int(counter.get_total_flops())) // 2)
            spent = 0
    return found


def stage_timings(model: SupernetCTC, subnets: Sequence[Kept], seconds: float = MACS_SECONDS) -> list[Timing]:
    """Duration of recognizing one utterance of ``seconds`` by the first of ``subnets``, by the first two that
    run one after the other, and so on, each after a warm-up.
    """
    batch = utterance(model, seconds)

    @torch.inference_mode()
    def run(count: int) -> None:
        going_on = Continuing.begin(model, batch.features_BTF, batch.num_frames, subnets)
        for i in range(count):
            log_probs_BSV, going_on = going_on.run(i)
            log_probs_BSV.argmax(-1).tolist()  # waits for the device

    return [timed(partial(run, i + 1), REPEATS, WARM_UP) for i in range(len(subnets))]


@torch.inference_mode()
def real_time_factor(model: SupernetCTC, batches: Sequence[Batch], repeats: int = 5) -> tuple[float, bool]:
    """Seconds of computation per second of audio, one utterance at a time: the best of ``repeats`` runs after
    a warm-up, and whether the machine was busy during them.
    """
    utterances = [(b.features_BTF[i : i + 1, :n], n) for b in batches for i, n in enumerate(b.num_frames)]
    audio = sum(sum(b.seconds) for b in batches)

    def recognize_all() -> None:
        for features, n in utterances:
            model.log_probs(features, [n], model.table.full).argmax(-1).tolist()  # waits for the device

    timing = timed(recognize_all, repeats, warm_up=1)
    return timing.best / audio, timing.is_busy


def latency(model: SupernetCTC, seconds: float, repeats: int = REPEATS) -> Timing:
    """Duration of recognizing one utterance of ``seconds``, after a warm-up."""
    batch = utterance(model, seconds)
    return timed(lambda: _run(model, batch), repeats, WARM_UP)


@torch.inference_mode()
def _run(model: SupernetCTC, batch: Batch) -> None:
    """Run without synchronizing between units, as in real use; ``tolist`` waits for the result."""
    model.log_probs(batch.features_BTF, batch.num_frames, model.table.full).argmax(-1).tolist()


def utterance(model: SupernetCTC, seconds: float) -> Batch:
    """One utterance of noise: the time does not depend on the content."""
    input, device = model.input, model.device
    frames = round(seconds * input.rate)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, frames, input.width, generator=generator).to(device, model.dtype)
    targets = torch.zeros(1, 1, dtype=torch.int64, device=device)
    return Batch(features, [frames], targets, [1], ["noise"], [""], input)
