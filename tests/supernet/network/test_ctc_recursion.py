"""The CTC loss in tensor operations is PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from supernet.network.ctc_recursion import recursive_ctc_loss

NUM_TOKENS = 4
utterances = st.tuples(st.integers(1, 12), st.lists(st.integers(1, NUM_TOKENS - 1), max_size=6))
Utterances = Sequence[tuple[int, list[int]]]


def padded(found: Utterances) -> tuple[Tensor, Tensor, Tensor]:
    """Targets (N, L) and the numbers of frames and targets."""
    targets = [torch.tensor(target, dtype=torch.int64) for _, target in found]
    lengths = torch.tensor([len(target) for target in targets])
    return (
        torch.nn.utils.rnn.pad_sequence(targets, batch_first=True),
        torch.tensor([n for n, _ in found]),
        lengths,
    )


def logits(found: Utterances, seed: int) -> Tensor:
    """Random logits (N, T, V), of which some frames are certain."""
    rng = torch.Generator().manual_seed(seed)
    shape = len(found), max(n for n, _ in found) + 1, NUM_TOKENS
    x_NTV = torch.randn(shape, generator=rng, dtype=torch.float64)
    return (x_NTV * torch.randint(1, 30, shape[:2], generator=rng)[..., None]).requires_grad_()


@given(st.lists(utterances, min_size=1, max_size=4), st.integers(0, 1000))
def test_losses_and_gradients_are_pytorchs(found: Utterances, seed: int) -> None:
    targets_NL, frames_N, lengths_N = padded(found)
    weights_N = torch.arange(1.0, len(found) + 1, dtype=torch.float64)
    mine, theirs = logits(found, seed), logits(found, seed)
    actual_N = recursive_ctc_loss(mine.log_softmax(-1), targets_NL, frames_N, lengths_N)
    log_probs_TNV = theirs.log_softmax(-1).transpose(0, 1)
    expected_N = F.ctc_loss(
        log_probs_TNV, targets_NL, frames_N, lengths_N, reduction="none", zero_infinity=True
    )
    torch.testing.assert_close(actual_N, expected_N, atol=1e-9, rtol=1e-9)
    (actual_N @ weights_N).backward()  # type: ignore[no-untyped-call]
    (expected_N @ weights_N).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-9, rtol=1e-9)


@given(st.lists(utterances, min_size=1, max_size=4), st.integers(0, 1000))
def test_losses_without_gradients_are_the_same(found: Utterances, seed: int) -> None:
    x_NTV, arguments = logits(found, seed).log_softmax(-1), padded(found)
    plain_N = recursive_ctc_loss(x_NTV.detach(), *arguments)
    assert not plain_N.requires_grad
    torch.testing.assert_close(plain_N, recursive_ctc_loss(x_NTV, *arguments).detach(), atol=0, rtol=0)


def test_long_utterances_whose_targets_are_improbable_have_a_loss() -> None:
    """A net that writes blanks with certainty, as at the start of a training: no probability vanishes."""
    logits_NTV = torch.zeros(1, 600, NUM_TOKENS)
    logits_NTV[..., 0] = 20.0
    log_probs_NTV = logits_NTV.log_softmax(-1).requires_grad_()
    targets_NL = torch.tensor([[1, 2, 3] * 50])
    arguments = torch.tensor([600]), torch.tensor([150])
    loss_N = recursive_ctc_loss(log_probs_NTV, targets_NL, *arguments)
    expected_N = F.ctc_loss(log_probs_NTV.transpose(0, 1), targets_NL, *arguments, reduction="none")
    torch.testing.assert_close(loss_N, expected_N, atol=0, rtol=1e-4)
    loss_N.sum().backward()  # type: ignore[no-untyped-call]
    assert log_probs_NTV.grad is not None
    assert float(log_probs_NTV.grad.sum(-1)[0].mean()) == pytest.approx(-1, abs=1e-3), "a token a frame"
