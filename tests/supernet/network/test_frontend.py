"""The frontend: lengths, normalization, and its share of the cost."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from supernet.audio.features import LOG_MEL, LOG_MEL_80MS, Input
from supernet.network.frontend import DEVIATION_FLOOR, Frontend, normalize
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.resolve import resolve
from tests.supernet import tiny

FRONTENDS = {input.name: Frontend(2, 8, 0.0, input).eval() for input in (LOG_MEL, LOG_MEL_80MS)}
both = pytest.mark.parametrize("input", [LOG_MEL, LOG_MEL_80MS], ids=lambda input: input.name)


@both
@pytest.mark.parametrize("num_frames", range(7, 61))
def test_the_length_after_subsampling_is_predicted(input: Input, num_frames: int) -> None:
    mask = torch.ones(1, num_frames, dtype=torch.bool)
    stream = FRONTENDS[input.name](torch.randn(1, num_frames, 80), mask)
    assert stream.shape == (1, input.num_stream_frames(num_frames), 8)


@both
@pytest.mark.parametrize("num_frames", range(1, 7))
def test_the_shortest_input_has_one_frame(input: Input, num_frames: int) -> None:
    mask = torch.ones(1, num_frames, dtype=torch.bool)
    stream = FRONTENDS[input.name](torch.randn(1, num_frames, 80), mask)
    assert stream.shape == (1, 1, 8)
    assert input.num_stream_frames(num_frames) == 1


def test_a_frame_of_8x_subsampling_lasts_80_ms_and_sees_150_ms() -> None:
    assert (LOG_MEL_80MS.stream_seconds, LOG_MEL_80MS.stream_samples, LOG_MEL_80MS.shortest) == (
        0.08,
        1280,
        15,
    )
    x = torch.randn(1, 1, 23, 80, requires_grad=True)
    frontend = FRONTENDS["log-mel-80ms"]
    convolutions: list[torch.nn.Conv2d] = [getattr(frontend, f"conv{i}") for i in (1, 2, 3)]
    frames = torch.nn.Sequential(*convolutions)(x)
    assert frames.size(2) == 2
    (gradient,) = torch.autograd.grad(frames[:, :, 0].sum(), x)
    assert gradient[0, 0, :15].abs().sum(1).min() > 0
    assert not gradient[0, 0, 15:].any()


def test_each_band_of_each_utterance_has_zero_mean_and_unit_deviation() -> None:
    data = tiny.batch([50, 30], dtype=torch.float64)
    features = data.features_BTF * 3 + torch.arange(80)
    mask = torch.arange(50)[None] < torch.tensor(data.num_frames)[:, None]
    x = normalize(features, mask)
    for row, frames in enumerate(data.num_frames):
        valid = x[row, :frames]
        torch.testing.assert_close(valid.mean(0), torch.zeros(80).double(), atol=1e-10, rtol=0)
        torch.testing.assert_close(valid.std(0, unbiased=False), torch.ones(80).double(), atol=1e-10, rtol=0)
        assert not x[row, frames:].any()


def test_a_nearly_constant_band_is_not_amplified() -> None:
    features = torch.zeros(1, 40, 80)
    features[0, ::2, 79] = 1e-3
    x = normalize(features, torch.ones(1, 40, dtype=torch.bool))
    assert float(x.abs().max()) == pytest.approx(0.5e-3 / DEVIATION_FLOOR)


@pytest.mark.parametrize("name", ["tiny", "small", "base"])
def test_the_frontend_costs_at_most_a_sixth_of_twelve_layers(name: str) -> None:
    config = resolve([{"preset": name}]).config
    net = SupernetCTC(config, 30).eval()
    assert len(net.table) == 12
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        net.log_probs(torch.zeros(1, 400, 80), [400], net.table.full)
    counts = counter.get_flop_counts()
    frontend, everything = (sum(counts[key].values()) for key in ("Frontend", "Global"))
    assert 0 < frontend <= everything / 6
