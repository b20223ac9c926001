"""Encoders of others relative to ours, of equal size: theirs over ours, so that above 1 ours is faster.

torchaudio's Conformer has no positions and normalizes its convolutions by batch; ours has relative positions.
Run: ``python -m pytest tests/benchmarks/test_peers.py -n 0``, with one thread.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchaudio.models import Conformer

from supernet.network.lanes import Lane
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.system.devices import autocast
from tests.benchmarks.conftest import Ratio, Work
from tests.benchmarks.test_attention import SIZE, make_net

STREAMS = {"short": (12, 57), "long": (3, 249)}
"""Utterances, and stream frames of the longest: 2.3 s and 10 s."""
ROUNDS = {96: 9, 384: 3}


class Encoder(nn.Module):
    """The encoder of a network, without its frontend and heads."""

    def __init__(self, net: SupernetCTC) -> None:
        super().__init__()
        self.net = net

    def forward(self, x_BSD: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        lane = Lane(range(len(x_BSD)), self.net.table.full)
        (reading,) = self.net.encoder(x_BSD, lengths_B.tolist(), [lane])
        return reading[FINAL], lengths_B


def ours(dim: int) -> nn.Module:
    return Encoder(make_net(dim, torch.device("cpu")))


def theirs(dim: int) -> nn.Module:
    config = make_net(dim, torch.device("cpu")).config.model
    torch.manual_seed(0)
    return Conformer(dim, config.num_heads, config.ffn_dim, SIZE, config.kernel)  # type: ignore[no-any-return]


def stream(dim: int, count: int, num_frames: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(count, num_frames, dim), num_frames - torch.arange(count) // 2


def training(encoder: nn.Module, x_BSD: Tensor, lengths_B: Tensor, precision: str) -> Work:
    def step() -> None:
        with autocast(precision, x_BSD.device):
            y_BSD, _ = encoder(x_BSD, lengths_B)
        y_BSD.float().square().mean().backward()
        encoder.zero_grad(set_to_none=True)

    return step


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("length", STREAMS)
@pytest.mark.parametrize("dim", ROUNDS)
def test_training(dim: int, length: str, precision: str, ratio: Ratio) -> None:
    batch = stream(dim, *STREAMS[length])
    mine, other = (training(make(dim), *batch, precision) for make in (ours, theirs))
    assert ratio.of_processor(other, mine, ROUNDS[dim], what="of ours") > 0


@pytest.mark.parametrize("length", STREAMS)
@pytest.mark.parametrize("dim", ROUNDS)
def test_inference(dim: int, length: str, ratio: Ratio) -> None:
    """One utterance at a time."""
    x_1SD, lengths_1 = stream(dim, 1, STREAMS[length][1])

    def recognition(encoder: nn.Module) -> Work:
        encoder.eval()

        @torch.inference_mode()
        def recognize() -> None:
            encoder(x_1SD, lengths_1)

        return recognize

    mine, other = recognition(ours(dim)), recognition(theirs(dim))
    assert ratio.of_processor(other, mine, 21 if dim == 96 else 9, what="of ours") > 0
