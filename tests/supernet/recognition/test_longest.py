"""The network can process the longest utterance that its configuration allows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from supernet.audio.specification import NUM_BANDS
from supernet.errors import ConfigError
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.resolve import resolve


def settings(max_seconds: float, positions: str) -> dict[str, Any]:
    small = {"dim": 16, "num_heads": 2, "ffn_dim": 32, "kernel": 3, "frontend_channels": 2}
    model = {**small, "max_frames": 256, "positions": positions}
    return {"sizes": [1], "model": model, "task": {"max_seconds": max_seconds}}


@pytest.mark.parametrize("positions", ["relative", "sinusoidal"])
def test_the_maximum_length_is_accepted_and_longer_ones_are_errors(positions: str) -> None:
    net = SupernetCTC(resolve([settings(10.3, positions)]).config, num_tokens=5).eval()
    assert net.log_probs(torch.zeros(1, 1030, NUM_BANDS), [1030], net.table.full).shape == (1, 256, 5)
    with pytest.raises(ConfigError, match=r"`model\.max_frames`, which is 256, but 10\.4 s are 259 frames"):
        resolve([settings(10.4, positions)])
    with pytest.raises(ValueError, match="256"):
        net.log_probs(torch.zeros(1, 1040, NUM_BANDS), [1040], net.table.full)
