"""The costs of a subnet, read from the network: parameters, MACs, and the real-time factor."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from supernet.network.supernet_ctc import SupernetCTC
from supernet.system.timing import timed
from supernet.task import Batch
from supernet.units import Kept

MACS_SECONDS = 10.0


@torch.inference_mode()
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


def processor() -> str:
    """The name of this machine's processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
