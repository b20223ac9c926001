"""CTC loss in tensor operations, for devices on which PyTorch's own implementation copies the lengths and
waits for the copy.

The forward-backward recursion of Graves et al. 2006 (section 4.1). The backward variables of an utterance are
the forward variables of the reversed one, so both run side by side in one loop over the frames, with four
operations per frame. Shapes: N utterances, T frames, V tokens, L targets, S = 2 L + 1 states (targets with
blanks around them), M = N or 2 N rows of the recursion.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from supernet.text.tokens import BLANK_ID


def recursive_ctc_loss(
    log_probs_NTV: Tensor, targets_NL: Tensor, num_frames_N: Tensor, num_targets_N: Tensor
) -> Tensor:
    """The negative log-likelihood (N,) of targets; 0, without gradient, if they do not fit into the frames.

    All arguments are on one device. Padding may hold anything, except that targets must be valid tokens.
    """
    loss_N: Tensor = _RecursiveCTC.apply(log_probs_NTV, targets_NL, num_frames_N, num_targets_N)  # type: ignore[no-untyped-call]
    return loss_N


class _RecursiveCTC(torch.autograd.Function):
    """The loss, and its gradient for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, log_probs_NTV: Tensor, targets_NL: Tensor, num_frames_N: Tensor, num_targets_N: Tensor
    ) -> Tensor:
        states = _States(log_probs_NTV, targets_NL, num_frames_N, num_targets_N)
        needs_gradient = ctx.needs_input_grad[0]
        emitted_MTS, skips_MS = states.emitted_NTS, states.skips_NS
        if needs_gradient:
            emitted_MTS = torch.cat([emitted_MTS, states.reversed(emitted_MTS)])
            skips_MS = torch.cat([skips_MS, states.reversed_skips()])
        forward_MTS = _recursion(emitted_MTS, skips_MS)
        log_likelihood_N = states.log_likelihood(forward_MTS)
        is_possible_N = log_likelihood_N > -torch.inf
        if needs_gradient:
            backward_NTS = states.reversed(forward_MTS[len(log_probs_NTV) :])
            posteriors_NTS = forward_MTS[: len(log_probs_NTV)] + backward_NTS - states.emitted_NTS
            posteriors_NTS = (posteriors_NTS - log_likelihood_N[:, None, None]).exp()
            is_valid_NTS = states.is_valid_NTS & is_possible_N[:, None, None]
            posteriors_NTS = posteriors_NTS.masked_fill(~is_valid_NTS, 0.0)
            gradient_NTV = torch.zeros_like(log_probs_NTV)
            ctx.save_for_backward(gradient_NTV.scatter_add_(2, states.labels_NTS, -posteriors_NTS))
        return (-log_likelihood_N).masked_fill(~is_possible_N, 0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_N: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient_NTV,) = ctx.saved_tensors
        return gradient_N[:, None, None] * gradient_NTV, None, None, None


class _States:
    """The states of the recursion: the token that each emits, and the states from which it can be reached."""

    def __init__(
        self, log_probs_NTV: Tensor, targets_NL: Tensor, num_frames_N: Tensor, num_targets_N: Tensor
    ) -> None:
        (count, num_frames, _), num_states = log_probs_NTV.shape, 2 * targets_NL.size(1) + 1
        labels_NS = targets_NL.new_full((count, num_states), BLANK_ID)
        labels_NS[:, 1::2] = targets_NL
        self.labels_NTS = labels_NS[:, None].expand(-1, num_frames, -1)
        self.emitted_NTS = log_probs_NTV.gather(2, self.labels_NTS)
        # A target is reached across the blank before it unless it repeats the target before that.
        differs_NS = (labels_NS != BLANK_ID) & (labels_NS != labels_NS.roll(2, 1))
        self.skips_NS = torch.zeros_like(labels_NS, dtype=log_probs_NTV.dtype)
        self.skips_NS.masked_fill_(~differs_NS, -torch.inf)
        frames_T = torch.arange(num_frames, device=labels_NS.device)
        states_S = torch.arange(num_states, device=labels_NS.device)
        self._rows_N = torch.arange(count, device=labels_NS.device)
        self._last_frame_N, self._last_state_N = num_frames_N - 1, 2 * num_targets_N
        frames_NT, states_NS = self._last_frame_N[:, None] - frames_T, self._last_state_N[:, None] - states_S
        self.is_valid_NTS = (frames_NT >= 0)[:, :, None] & (states_NS >= 0)[:, None]
        self._frames_NT, self._states_NS = frames_NT.clamp(min=0), states_NS.clamp(min=0)

    def reversed(self, x_NTS: Tensor) -> Tensor:
        """Frames and states of each utterance from its last to its first."""
        return x_NTS[self._rows_N[:, None, None], self._frames_NT[:, :, None], self._states_NS[:, None]]

    def reversed_skips(self) -> Tensor:
        """The skips of the reversed targets: a skip from state s to s + 2 becomes one from s + 2 to s."""
        ahead_NS = (self._states_NS + 2).clamp(max=self.skips_NS.size(1) - 1)
        return self.skips_NS.gather(1, ahead_NS)

    def log_likelihood(self, forward_MTS: Tensor) -> Tensor:
        """The sum over the last two states in the last frame; only one state exists without targets."""
        last_N = forward_MTS[self._rows_N, self._last_frame_N, self._last_state_N]
        before_N = forward_MTS[self._rows_N, self._last_frame_N, (self._last_state_N - 1).clamp(min=0)]
        return torch.logaddexp(last_N, before_N.masked_fill(self._last_state_N == 0, -torch.inf))


def _recursion(emitted_MTS: Tensor, skips_MS: Tensor) -> Tensor:
    """The log-probability (M, T, S) of having emitted all frames up to each one and being in each state."""
    count, num_frames, num_states = emitted_MTS.shape
    # Two extra states and one extra frame at the start, from which only the first two states are reached.
    sums_TMS = emitted_MTS.new_full((num_frames + 1, count, num_states + 2), -torch.inf)
    sums_TMS[0, :, 2] = 0.0
    from_0_TMS, from_1_TMS, from_2_TMS = sums_TMS[:, :, 2:], sums_TMS[:, :, 1:-1], sums_TMS[:, :, :-2]
    emitted_TMS, reached_MS = emitted_MTS.transpose(0, 1), torch.empty_like(skips_MS)
    steps = zip(from_0_TMS, from_1_TMS, from_2_TMS, emitted_TMS, from_0_TMS[1:], strict=False)
    for stay_MS, next_MS, skip_MS, emitted_MS, sum_MS in steps:
        torch.add(skip_MS, skips_MS, out=reached_MS)
        torch.logaddexp(reached_MS, next_MS, out=reached_MS)
        torch.logaddexp(reached_MS, stay_MS, out=reached_MS)
        torch.add(reached_MS, emitted_MS, out=sum_MS)
    return from_0_TMS[1:].transpose(0, 1)
