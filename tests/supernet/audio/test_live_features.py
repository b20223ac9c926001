"""Features of audio that arrives in blocks are those of the whole recording."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from supernet.audio.features import fbank
from supernet.audio.live_features import Floats, LiveFeatures


def log_mel(samples: Floats) -> Floats:
    return fbank(torch.from_numpy(samples)).numpy()


@given(st.lists(st.integers(0, 1500), min_size=1, max_size=8), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_features_are_those_of_the_whole_recording(lengths: list[int], seed: int) -> None:
    samples = (np.random.default_rng(seed).normal(size=sum(lengths)) * 0.1).astype(np.float32)
    live = LiveFeatures(log_mel)
    found = [live.accept(block) for block in np.split(samples, np.cumsum(lengths)[:-1])]
    # The window of a frame ends 280 samples after its beginning.
    assert sum(map(len, found)) == max(0, (len(samples) - 280) // 160 + 1)
    assert len(live._held_S) <= 3 * 160 + 280 + 160
    found.append(live.finish())
    if len(samples):
        whole = log_mel(np.pad(samples, (0, max(0, 400 - len(samples)))))
        np.testing.assert_allclose(np.concatenate(found), whole, atol=1e-3, rtol=1e-4)
    else:
        assert sum(map(len, found)) == 0
