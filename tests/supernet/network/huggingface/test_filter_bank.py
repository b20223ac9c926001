"""The filter bank in matrix products is Kaldi's."""

from __future__ import annotations

import copy

import pytest
import torch
from torchaudio.compliance import kaldi

from supernet.network.huggingface.filter_bank import FilterBank
from tests.supernet.pretrained.folders import speech


@pytest.mark.parametrize("count", [400, 559, 560, 5000])
def test_features_are_those_of_kaldi(count: int) -> None:
    rows = [*speech([count]), torch.zeros(count), torch.linspace(-9, 9, count).sin()]
    samples_BT = torch.stack(rows).double() * 2**15
    expected = [kaldi.fbank(row_T[None], num_mel_bins=80) for row_T in samples_BT]
    torch.testing.assert_close(FilterBank()(samples_BT), torch.stack(expected), atol=1e-6, rtol=1e-6)


def test_networks_without_memory_have_its_numbers() -> None:
    with torch.device("meta"):
        made = copy.deepcopy(FilterBank())
    samples_BT = torch.ones(1, 400).cumsum(1)
    assert torch.equal(made(samples_BT), FilterBank()(samples_BT))
