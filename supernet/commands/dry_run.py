"""``python -m supernet.train --dry-run``: the sizes of a planned training and estimates of its cost.

A few steps of each phase are timed on noise of the configured batch size and extrapolated.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from supernet.audio.features import INPUTS, Input
from supernet.config import Config
from supernet.console.fitted import Fitted
from supernet.method import Method
from supernet.network.adapters import add_adapters
from supernet.network.model_costs import MACS_SECONDS, macs
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.unit_prices import unit_parameters
from supernet.runs.pretrained import tokens_of
from supernet.runs.resolve import Resolved
from supernet.system.devices import chosen_device, with_threads
from supernet.system.machine import processor
from supernet.system.processes import num_processes, peak_memory
from supernet.task import Batch, ProgressCallback
from supernet.training.averaging import Averages
from supernet.training.compute import typical_scorer
from supernet.training.optim import SkippingAdamW, parameter_groups
from supernet.training.parallel import Parallel, processes_of
from supernet.training.schedule import Schedule
from supernet.training.step import StepLosses, supernet_of

MEASURED = 2
"""Number of timed steps per phase; the faster one counts, as the first may include one-time costs."""

_NUM_TOKENS = 30
"""Assumed if the corpus is not prepared yet."""
_UTTERANCE_SECONDS = 10.0
"""Likewise."""
_BATCH_SECONDS = 30.0
"""Assumed if the task has no such option."""
_TOKENS_PER_SECOND = 10


@dataclass(frozen=True)
class Estimate:
    """The cost of training one network."""

    sizes: tuple[tuple[str, int, int], ...]
    """Name, parameters and MACs of each size or budget."""
    seconds: float
    memory: int
    """Peak memory in bytes, of the GPU or else of this process."""
    trained: int
    """Parameters that the first update trains."""
    total: int
    """All parameters, with those that only training has."""


def dry_run(resolved: Resolved, report: ProgressCallback) -> Fitted:
    """Estimate the cost of a training, as a table to print."""
    size, num_tokens = _corpus(resolved)
    return _table(resolved, _estimates(resolved, size, num_tokens, report), size, num_tokens)


def estimates(resolved: Resolved, report: ProgressCallback) -> list[Estimate]:
    """Estimate the cost of each network of a training."""
    return _estimates(resolved, *_corpus(resolved), report)


def _corpus(resolved: Resolved) -> tuple[tuple[int, float] | None, int]:
    """The size of the corpus, if it is known, and the number of its tokens."""
    size = resolved.task.train_size()
    return size, _NUM_TOKENS if size is None else _num_tokens(resolved)


def _estimates(
    resolved: Resolved, size: tuple[int, float] | None, num_tokens: int, report: ProgressCallback
) -> list[Estimate]:
    input = INPUTS[resolved.config.model.input]
    batch = _noise(_batch_seconds(resolved), size, num_tokens, input)
    resolved, names = resolved.priced(num_tokens), resolved.config.names
    runs = [resolved.only(name) for name in names] if resolved.method.separate_runs else [resolved]
    return [_estimate(run.config, run.method, batch, num_tokens, report) for run in runs]


def _num_tokens(resolved: Resolved) -> int:
    return len(tokens_of(resolved.config.model, resolved.task.tokens()))


def _batch_seconds(resolved: Resolved) -> float:
    return float(getattr(resolved.task.options, "batch_seconds", _BATCH_SECONDS))


def _noise(batch_seconds: float, size: tuple[int, float] | None, num_tokens: int, input: Input) -> Batch:
    """A batch like the reader's, with utterances of the corpus's mean length if it is known."""
    seconds = min(batch_seconds, _UTTERANCE_SECONDS if size is None else size[1] / size[0])
    number, frames = max(1, round(batch_seconds / seconds)), round(max(0.25, seconds) * input.rate)
    rng = torch.Generator().manual_seed(0)
    length = max(1, min(round(seconds * _TOKENS_PER_SECOND), input.num_stream_frames(frames) // 2))
    return Batch(
        features_BTF=torch.randn(number, frames, input.width, generator=rng),
        num_frames=[frames] * number,
        targets_BL=torch.randint(1, max(2, num_tokens), (number, length), generator=rng),
        num_targets=[length] * number,
        ids=[str(i) for i in range(number)],
        texts=[""] * number,
        input=input,
    )


def _estimate(
    config: Config, method: Method[Any], batch: Batch, num_tokens: int, report: ProgressCallback
) -> Estimate:
    device, processes = chosen_device(config.device), processes_of(config)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        net = supernet_of(method, num_tokens)
    schedule = Schedule(method, net, config.seed)
    parameters = unit_parameters(net)
    # The units of a size are not known before training; candidates stand in.
    sizes = tuple(
        (n, round(parameters.of(kept)), macs(net, kept=kept)) for n, kept in schedule.subnets().items()
    )
    with torch.no_grad():  # so that subnets share a typical part of their computation
        net.scorer.load_state_dict(typical_scorer(method).state_dict())
    add_adapters(net)
    net.to(device).train()
    batch.to(device)
    with with_threads(processes.num_threads), contextlib.ExitStack() as stack:
        parallel = Parallel(net, method, config.seed, processes) if processes.count > 1 else None
        if parallel is not None:
            stack.enter_context(contextlib.closing(parallel))
        seconds = _Steps(config, net, schedule, batch, device, parallel).seconds(report)
        others = 0 if parallel is None else parallel.workers.other_memory()
        total = sum(p.numel() for p in net.parameters())
        return Estimate(sizes, seconds, _peak(device) + others, _trained(net), total)


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device))
    return peak_memory()


def _trained(net: SupernetCTC) -> int:
    """The number of parameters that the first update trains."""
    net.encoder.freeze(net.config.model.frozen_layers(0))
    is_frozen = net.config.model.freezes_frontend(0)
    return sum(
        p.numel()
        for name, p in net.named_parameters()
        if p.requires_grad and not (is_frozen and name.startswith("frontend."))
    )


class _Steps:
    """A few real steps of each phase."""

    def __init__(
        self,
        config: Config,
        net: SupernetCTC,
        schedule: Schedule,
        batch: Batch,
        device: torch.device,
        parallel: Parallel | None,
    ) -> None:
        self._config, self._net, self._schedule, self._batch = config, net, schedule, batch
        self._device, self._losses = device, StepLosses(net, schedule, parallel=parallel)
        groups = parameter_groups(net, config.train)
        skipped, in_a_row = net.skipped_updates, net.skipped_in_a_row
        self._optimizer = SkippingAdamW(groups, config.train, skipped, in_a_row, self._losses.end)
        every_step = config.train.model_copy(update={"average_every": 1})  # so that their memory counts
        self._averages = Averages(net, schedule, every_step, self._optimizer)

    def seconds(self, report: ProgressCallback) -> float:
        """Estimate the duration of all steps."""
        starts = [start for _, start in self._schedule.boundaries()]
        ends = [*starts[1:], self._schedule.num_steps]
        phases = [(start, end) for start, end in zip(starts, ends, strict=True) if end > start]
        total, counted = 0.0, len(phases) * MEASURED
        for i, (start, end) in enumerate(phases):
            taken = []
            for k, step in enumerate(_spread(start, end)):
                taken.append(self._timed(step))
                report("measuring", i * MEASURED + k + 1, counted)
            total += (end - start) * min(taken)
        return total

    def _timed(self, step: int) -> float:
        self._wait()
        start = time.monotonic()
        self._losses.begin(step)
        self._optimizer.zero_grad()
        for _ in range(self._config.train.accumulate):
            self._loss().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._net.parameters(), self._config.train.max_grad_norm or 1.0)
        self._optimizer.step()
        self._averages.update(step)
        self._wait()
        return time.monotonic() - start

    def _loss(self) -> Tensor:
        loss = self._losses.loss(self._batch)
        mean: Tensor = loss.total / loss.num_frames
        return mean

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _spread(start: int, end: int) -> list[int]:
    """Evenly spaced steps of a phase, beginning with its first."""
    count = min(MEASURED, end - start)
    return [start + (end - start) * i // count for i in range(count)]


def _table(
    resolved: Resolved, estimates: Sequence[Estimate], size: tuple[int, float] | None, num_tokens: int
) -> Fitted:
    """The table of estimates, of two columns."""
    c = resolved.config
    table = Fitted("dry run: nothing is trained or written", CAPTION, boxed=True, header=False)
    table.add_column("what", left=True)
    table.add_column("how much", left=True, wraps=True)
    for name, parameters, products in (one for estimate in estimates for one in estimate.sizes):
        cost = f"{parameters / 1e6:.2f} M parameters, {products / 1e9:.2f} G MACs at {MACS_SECONDS:g} s"
        table.add_row(f"size {name}" if name.isdecimal() else name, cost)
    if (most := max(estimates, key=lambda estimate: estimate.total)).trained < most.total:
        frozen = f"{most.trained / 1e6:.2f} M of {most.total / 1e6:.2f} M parameters; the others are frozen"
        table.add_row("trained at first", frozen)
    table.add_row("tokens", f"{num_tokens}" if size else f"unknown; {num_tokens} assumed")
    each = f" for each of {len(estimates)} networks" if len(estimates) > 1 else ""
    table.add_row("updates", f"{c.train.num_steps:,}{each}")
    table.add_row("epochs", _epochs(resolved, size))
    device = chosen_device(c.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    count = processes_of(c).count
    table.add_row("measured on", f"{name} ({device}{f', {count} processes' if count > 1 else ''})")
    gigabytes = max(estimate.memory for estimate in estimates) / 1e9
    whose = "of the GPU" if device.type == "cuda" else "of the process" if count == 1 else "of all processes"
    table.add_row("memory, estimated", f"{gigabytes:.2f} GB {whose}")
    table.add_row("time, estimated", duration(sum(estimate.seconds for estimate in estimates)))
    return table


CAPTION = "Estimates from a few steps on noise, without reading, validation and scoring."


def _epochs(resolved: Resolved, size: tuple[int, float] | None) -> str:
    if size is None:
        return "unknown: the corpus is not prepared yet"
    train, ranks = resolved.config.train, num_processes()
    read = train.num_steps * train.accumulate * ranks * _batch_seconds(resolved)
    return f"about {_several(read / size[1])} of {size[0]:,} utterances, {size[1] / 3600:.2f} h"


def _several(number: float) -> str:
    return f"{number:.1f}" if number < 100 else f"{number:,.0f}"


def duration(seconds: float) -> str:
    """A time in a unit that fits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
