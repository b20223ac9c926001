"""Features in NumPy are those of training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from supernet.audio import features
from supernet.runtime import log_mel
from tests.supernet.talkative import recordings


@pytest.mark.parametrize("count", [400, 401, 479, 480, 481, 16_000, 48_123])
def test_features_are_those_of_training(count: int) -> None:
    samples = 0.1 * torch.randn(count, generator=torch.Generator().manual_seed(count))
    expected = features.fbank(samples).numpy()
    found = log_mel.log_mel(samples.numpy())
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.abs(found - expected).mean() < 1e-5


def test_features_of_tones_are_those_of_training() -> None:
    for samples in recordings():
        np.testing.assert_allclose(
            log_mel.log_mel(samples.numpy()), features.fbank(samples).numpy(), atol=5e-3
        )


def test_silence_has_the_least_energy() -> None:
    expected = features.fbank(torch.zeros(800)).numpy()
    np.testing.assert_allclose(log_mel.log_mel(np.zeros(800, np.float32)), expected, atol=1e-6)
