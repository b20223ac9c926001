"""A training ends with the same result whatever the number of processes that compute it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor

from supernet.methods.auto_train_once import AutoTrainOnce, AutoTrainOnceOptions
from supernet.methods.dais import DAIS, DAISOptions
from supernet.methods.individual import Individual, IndividualOptions
from supernet.methods.iterative_zero_out import IterativeZeroOut, IterativeZeroOutOptions
from supernet.methods.on_demand import OnDemand, OnDemandOptions
from supernet.methods.ortho_softmax import OrthoSoftmax, OrthoSoftmaxOptions
from supernet.methods.simple_top_k import SimpleTopK, SimpleTopKOptions
from supernet.network.supernet_ctc import SupernetCTC
from supernet.scorer import Scores
from supernet.system.processes import Processes
from supernet.system.workers import Ended
from supernet.training.optim import SkippingAdamW, parameter_groups
from supernet.training.parallel import Parallel, Scoring
from supernet.training.schedule import Schedule
from supernet.training.step import StepLosses
from tests.supernet import tiny
from tests.supernet.tiny import tiny_config

STEPS = 8
FRAMES = [100, 48, 60, 77, 90, 52, 64]
FROZEN = {"init": "a run", "init_weights": "0", "freeze_layers": 2, "freeze_layers_steps": 4}
METHODS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "simple-top-k": (SimpleTopK, SimpleTopKOptions(score_learning=0.4), {}),
    "simple-top-k, hard": (SimpleTopK, SimpleTopKOptions(score_learning=0.5, hard=True), {}),
    "every size on the batch": (SimpleTopK, SimpleTopKOptions(), {"passes": {"sharing": "batch"}}),
    "modules": (SimpleTopK, SimpleTopKOptions(score_learning=0.4), {"granularity": "module"}),
    "components": (SimpleTopK, SimpleTopKOptions(score_learning=0.4), {"granularity": "component"}),
    "iterative-zero-out": (IterativeZeroOut, IterativeZeroOutOptions(iterations=2), {}),
    "frozen layers": (SimpleTopK, SimpleTopKOptions(score_learning=0.4), {"model": FROZEN}),
    "ortho-softmax": (OrthoSoftmax, OrthoSoftmaxOptions(), {}),
    "auto-train-once": (AutoTrainOnce, AutoTrainOnceOptions(every=2), {}),
    "dais": (DAIS, DAISOptions(), {"granularity": "component"}),
    "on-demand": (OnDemand, OnDemandOptions(), {}),
    "streaming": (SimpleTopK, SimpleTopKOptions(score_learning=0.4), {"model": {"streaming": True}}),
    "individual": (Individual, IndividualOptions(), {"sizes": [4]}),
}


class Training:
    """A few steps, with stochastic depth; by pass and step, the sums of losses and of frames."""

    def __init__(
        self,
        method: str,
        count: int,
        dropout: float = 0.0,
        dtype: torch.dtype = torch.float64,
        accumulate: int = 1,
    ) -> None:
        kls, options, settings = METHODS[method]
        # With a small one, Adam amplifies the rounding of gradients that are nearly 0.
        train = {"num_steps": STEPS, "lr": 1e-3, "eps": 1e-3, "accumulate": accumulate}
        passes = {"layer_drop": 0.3, "smallest_first": 0.3, **settings.get("passes", {})}
        model = {"dropout": dropout, "ffn_dropout": dropout, **settings.get("model", {})}
        config = tiny_config(**{**settings, "train": train, "passes": passes, "model": model})
        self.net = tiny.recognizer(config).to(dtype).train()
        trained_by = kls(options, config)
        torch.manual_seed(0)
        if not isinstance(scorer := trained_by.scorer(), Scores):
            self.net.scorer = scorer.to(dtype)
        self._schedule = Schedule(trained_by, self.net, config.seed)
        self.parallel = (
            Parallel(self.net, trained_by, config.seed, Processes(count, 1)) if count > 1 else None
        )
        self._steps = StepLosses(self.net, self._schedule, parallel=self.parallel)
        groups = parameter_groups(self.net, config.train)
        counts = self.net.skipped_updates, self.net.skipped_in_a_row
        self._optimizer = SkippingAdamW(groups, config.train, *counts, self._steps.end)
        self._accumulate, self._dtype = accumulate, dtype
        self.losses: list[dict[str, Tensor]] = []

    def run(self, steps: range = range(STEPS)) -> Training:
        for step in steps:
            torch.manual_seed(step)
            self._steps.begin(step)
            self._optimizer.zero_grad()
            self.losses.append({})
            frames = Counter[str]()
            for i in range(self._accumulate):
                data = tiny.batch(FRAMES[: len(FRAMES) - i], seed=step, dtype=self._dtype)
                loss = self._steps.loss(data, partial(self._note, frames))
                loss.total.backward()  # type: ignore[no-untyped-call]
                self._note(frames, loss.by_pass)
                assert loss.num_frames == sum(data.stream_lengths)
            self.losses[-1] |= {f"{name}: frames": torch.tensor(float(n)) for name, n in frames.items()}
            self._optimizer.step()
        return self

    def _note(self, frames: Counter[str], sums: Any) -> None:
        for name, (loss, count) in sums.items():
            self.losses[-1][name] = self.losses[-1].get(name, 0) + loss
            frames[name] += count

    def close(self) -> None:
        if self.parallel is not None:
            self.parallel.close()


@cache
def trained(method: str, count: int, **options: Any) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    training = Training(method, count, **options)
    try:
        training.run()
    finally:
        training.close()
    return training.net.state_dict(), training.losses


def assert_close(found: Any, expected: Any, rel: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        distance = (found[name].double() - value.double()).norm()
        assert distance <= rel * value.double().norm() + 1e-9, name


@pytest.mark.parametrize("count", [2, 9])
@pytest.mark.parametrize("method", METHODS)
def test_losses_and_weights_are_those_of_one_process(method: str, count: int) -> None:
    """With nine, two have no utterance. Attention has a softmax in single precision."""
    (weights, losses), (expected, all_expected) = trained(method, count), trained(method, 1)
    for found, one in zip(losses, all_expected, strict=True):
        assert_close(found, one, 1e-6)
    assert_close(weights, expected, 1e-6)


def test_in_single_precision_they_agree_up_to_rounding() -> None:
    (weights, losses), (expected, all_expected) = (
        trained("simple-top-k", count, dtype=torch.float32) for count in (2, 1)
    )
    for found, one in zip(losses, all_expected, strict=True):
        assert_close(found, one, 1e-5)
    assert_close(weights, expected, 1e-5)


def test_batches_that_are_accumulated_are_divided_one_by_one() -> None:
    (weights, losses), (expected, all_expected) = (
        trained("simple-top-k", count, accumulate=3) for count in (2, 1)
    )
    for found, one in zip(losses, all_expected, strict=True):
        assert_close(found, one, 1e-6)
    assert_close(weights, expected, 1e-6)


def test_the_same_number_of_processes_ends_bit_by_bit_the_same_with_dropout() -> None:
    weights, _ = trained("simple-top-k", 2, dropout=0.2)
    again, _ = trained.__wrapped__("simple-top-k", 2, dropout=0.2)
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    (other, _) = trained("simple-top-k", 3, dropout=0.2)
    assert not all(torch.equal(weights[name], other[name]) for name in weights), "its masks are others"


def test_the_gradient_of_a_multiple_of_the_loss_is_the_multiple() -> None:
    grads = []
    for factor in (1.0, 0.25):
        training = Training("simple-top-k", 2)
        try:
            training._steps.begin(0)
            (factor * training._steps.loss(tiny.batch(FRAMES)).total).backward()  # type: ignore[no-untyped-call]
            grads.append(
                {n: p.grad / factor for n, p in training.net.named_parameters() if p.grad is not None}
            )
        finally:
            training.close()
    assert_close(grads[1], grads[0], 1e-9)


def test_what_was_shared_belongs_to_the_network_alone_in_the_end() -> None:
    training = Training("simple-top-k", 2)
    before = {name: value.clone() for name, value in training.net.state_dict().items()}
    shared = {value.untyped_storage().data_ptr() for value in training.net.state_dict().values()}
    assert len(shared) == 1
    training.close()
    after = training.net.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert len({value.untyped_storage().data_ptr() for value in after.values() if value.numel()}) == len(
        after
    )


def test_a_process_that_was_killed_ends_the_step() -> None:
    training = Training("simple-top-k", 3)
    try:
        training.run(range(1))
        assert training.parallel is not None
        os.kill(training.parallel.workers.pids[1], signal.SIGKILL)
        with pytest.raises(Ended, match="process 3 of the 3"):
            training.run(range(1, 2))
    finally:
        training.close()


def test_an_error_in_another_process_is_that_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    forward, own = SupernetCTC.forward, os.getpid()

    def fails(self: SupernetCTC, batch: Any, step: Any) -> Any:
        if os.getpid() != own:
            raise RuntimeError("not enough memory")
        return forward(self, batch, step)

    monkeypatch.setattr(SupernetCTC, "forward", fails)
    training = Training("simple-top-k", 2)
    try:
        with pytest.raises(RuntimeError, match="not enough memory"):
            training.run(range(1))
    finally:
        training.close()


def test_every_batch_is_scored_once_with_the_current_weights() -> None:
    training = Training("simple-top-k", 2)
    try:
        training.run(range(3))
        subnets = list(training._schedule.subnets().values())
        training.net.eval()
        scoring, alone = Scoring(training.net, training.parallel), Scoring(training.net, None)
        with torch.inference_mode():
            for seed in range(5):
                for one in (scoring, alone):
                    one.ask(tiny.batch(FRAMES, seed), subnets)
        found, expected = list(scoring.outputs()), list(alone.outputs())
    finally:
        training.close()
    assert len(found) == 5
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert (a.kept, a.num_frames, a.token_ids) == (b.kept, b.num_frames, b.token_ids)
            torch.testing.assert_close(a.loss, b.loss)
