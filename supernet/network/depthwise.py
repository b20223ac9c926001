"""Depthwise convolution over time, by the fastest way on each device.

Shapes: N rows, T frames, D channels, K frames of the kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def depthwise(x_NTD: Tensor, weight_D1K: Tensor, bias_D: Tensor | None, padding: int | None = None) -> Tensor:
    """Convolve each channel of ``x_NTD`` with its own kernel.

    On a GPU, not by cuDNN: since version 9.10 it compiles a kernel for every new shape, and batches of a
    training differ in shape. A step of twelve layers took 0.7 s where the shape was new, 0.06 s elsewhere.

    Args:
        padding: The number of zeros on each side. None: half of a kernel of odd length, which keeps T.
    """
    sides = (0, weight_D1K.size(-1) // 2 if padding is None else padding)
    # An image of height 1, whose transposed view is channels-last in memory: on a CPU, the fast path.
    image_ND1T, weight_D11K = x_NTD.transpose(1, 2)[:, :, None], weight_D1K[:, :, None]
    if x_NTD.is_cuda:
        bias_D = None if bias_D is None else bias_D.to(x_NTD.dtype)
        y_ND1T: Tensor = _WithoutCuDNN.apply(image_ND1T, weight_D11K.to(x_NTD.dtype), bias_D, sides)  # type: ignore[no-untyped-call]
    else:
        y_ND1T = F.conv2d(image_ND1T, weight_D11K, bias_D, padding=sides, groups=x_NTD.size(-1))
    return y_ND1T[:, :, 0].transpose(1, 2)


class _WithoutCuDNN(torch.autograd.Function):
    """The convolution of PyTorch's own kernels, whose choice would otherwise be made again for gradients."""

    @staticmethod
    def forward(
        ctx: Any, image_ND1T: Tensor, weight_D11K: Tensor, bias_D: Tensor | None, sides: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(image_ND1T, weight_D11K)
        ctx.sides = sides
        with _without_cudnn(), torch.autocast(image_ND1T.device.type, enabled=False):
            return F.conv2d(image_ND1T, weight_D11K, bias_D, padding=sides, groups=len(weight_D11K))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_ND1T: Tensor) -> tuple[Tensor | None, ...]:
        image_ND1T, weight_D11K = ctx.saved_tensors
        channels = len(weight_D11K)
        with _without_cudnn():
            found: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
                dy_ND1T, image_ND1T, weight_D11K, [channels],
                [1, 1], ctx.sides, [1, 1], False, [0, 0], channels, ctx.needs_input_grad[:3],
            )  # fmt: skip
        return (*found, None)


@contextmanager
def _without_cudnn() -> Iterator[None]:
    before = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before
