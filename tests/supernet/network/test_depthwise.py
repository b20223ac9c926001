"""Depthwise convolution, in the way of a CPU and in that of a GPU, against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.network.depthwise import _WithoutCuDNN, depthwise

CHANNELS = 6


def expected(x_NTD: Tensor, weight_D1K: Tensor, bias_D: Tensor | None, padding: int | None) -> Tensor:
    padding = weight_D1K.size(-1) // 2 if padding is None else padding
    return F.conv1d(x_NTD.mT, weight_D1K, bias_D, padding=padding, groups=CHANNELS).mT


def as_on_gpu(x_NTD: Tensor, weight_D1K: Tensor, bias_D: Tensor | None, padding: int | None) -> Tensor:
    sides = (0, weight_D1K.size(-1) // 2 if padding is None else padding)
    y_ND1T: Tensor = _WithoutCuDNN.apply(x_NTD.mT[:, :, None], weight_D1K[:, :, None], bias_D, sides)  # type: ignore[no-untyped-call]
    return y_ND1T[:, :, 0].mT


@pytest.mark.parametrize("way", [depthwise, as_on_gpu])
@pytest.mark.parametrize("padding", [None, 0, 2])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("kernel", [1, 7])
def test_values_and_gradients_are_pytorchs(
    kernel: int, has_bias: bool, padding: int | None, way: type
) -> None:
    torch.manual_seed(0)
    shapes = [(3, 11, CHANNELS), (CHANNELS, 1, kernel), *([(CHANNELS,)] if has_bias else [])]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    arguments = (*inputs, *([] if has_bias else [None]), padding)
    found, wanted = way(*arguments), expected(*arguments)  # type: ignore[arg-type]
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    dy_NTD = torch.randn_like(wanted)
    gradients = (torch.autograd.grad(y, inputs, dy_NTD) for y in (found, wanted))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_cudnn_is_as_before_afterwards() -> None:
    x_NTD, weight_D1K = torch.randn(1, 5, CHANNELS, requires_grad=True), torch.randn(CHANNELS, 1, 3)
    before = torch.backends.cudnn.enabled
    as_on_gpu(x_NTD, weight_D1K, None, None).sum().backward()  # type: ignore[no-untyped-call]
    with pytest.raises(RuntimeError):
        as_on_gpu(x_NTD, torch.randn(2, 1, 3), None, None)
    assert torch.backends.cudnn.enabled == before
