"""The cost of recognition by number of layers, and the frontend's share of it.

Run: ``python -m pytest tests/benchmarks``.
"""

from __future__ import annotations

import pytest
import torch

from supernet.config import Config
from supernet.network.cutting import cut
from supernet.network.supernet_ctc import SupernetCTC
from tests.benchmarks.conftest import Ratio
from tests.benchmarks.test_step import NUM_TOKENS

NUM_LAYERS = 12


@pytest.fixture
def net(device: torch.device) -> SupernetCTC:
    torch.manual_seed(0)
    return SupernetCTC(Config(sizes=(NUM_LAYERS,)), NUM_TOKENS).to(device).eval()


@torch.inference_mode()
def recognize(net: SupernetCTC, features: torch.Tensor) -> None:
    net.log_probs(features, [features.size(1)], net.table.full).argmax(-1).tolist()


@pytest.mark.parametrize("size", [3, 6, 9])
def test_time_by_layers_kept(size: int, net: SupernetCTC, device: torch.device, ratio: Ratio) -> None:
    small = cut(net, net.table.subnet(net.table.first(size)))
    features = torch.randn(1, 1000, 80, device=device)
    work, whole = lambda: recognize(small, features), lambda: recognize(net, features)
    found = ratio(work, whole, 9, what="of 12 layers")
    ratio.note(size / NUM_LAYERS, "layers kept")
    assert found < 1


def test_share_of_the_frontend(net: SupernetCTC, device: torch.device, ratio: Ratio) -> None:
    features = torch.randn(8, 1000, 80, device=device)
    lengths = [1000] * 8

    @torch.inference_mode()
    def frontend() -> None:
        net.embed(features, lengths)

    @torch.inference_mode()
    def everything() -> None:
        net.log_probs(features, lengths, net.table.full)

    assert ratio(frontend, everything, 9, what="share of a full pass") < 1 / 6
