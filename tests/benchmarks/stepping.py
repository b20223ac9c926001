"""Steps of the default training on request, for ``test_beside``: reads numbers of steps, one a line.

For each, prints the seconds and the processor seconds that they took, those of other processes included.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import torch

from supernet.runs.resolve import resolve
from supernet.system.processes import processes_for
from supernet.training.optim import SkippingAdamW, parameter_groups
from supernet.training.parallel import Parallel
from supernet.training.schedule import Schedule
from supernet.training.step import StepLosses, supernet_of
from tests.benchmarks.test_step import NUM_TOKENS, make_batch

UTTERANCES, FRAMES = 12, 240
"""A batch as the default task has them."""
AHEAD = 97
"""Steps of the training from one step to the next, so that few steps visit all of its phases."""


class Stepping:
    """The default training, divided among processes."""

    def __init__(self, asked: Any) -> None:
        resolved = resolve([{"device": "cpu"}])
        config, method = resolved.config, resolved.method
        self._processes = processes_for(asked, None, True)
        torch.manual_seed(0)
        self._net = supernet_of(method, NUM_TOKENS)
        torch.nn.init.normal_(self._net.scorer.importance().data)
        schedule = Schedule(method, self._net, config.seed)
        self._pids, parallel = list[int](), None
        if self._processes.count > 1:
            torch.set_num_threads(self._processes.num_threads or 1)
            parallel = Parallel(self._net, method, config.seed, self._processes)
            self._pids = parallel.workers.pids
        self._losses = StepLosses(self._net, schedule, parallel=parallel)
        groups = parameter_groups(self._net, config.train)
        counts = self._net.skipped_updates, self._net.skipped_in_a_row
        self._optimizer = SkippingAdamW(groups, config.train, *counts, self._losses.end)
        self._batch, self._num_steps, self._done = make_batch(UTTERANCES, FRAMES), schedule.num_steps, 0

    def step(self) -> None:
        """Take a step, anywhere in the training."""
        self._losses.begin(self._done % self._num_steps)
        self._done += AHEAD
        self._optimizer.zero_grad()
        loss = self._losses.loss(self._batch)
        (loss.total / loss.num_frames).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._net.parameters(), 5.0)
        self._optimizer.step()

    def processor_seconds(self) -> float:
        return time.process_time() + sum(map(_processor_seconds, self._pids))


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Serve the requests on standard input; the argument is the number of processes, or ``auto``."""
    stepping = Stepping(sys.argv[1] if sys.argv[1] == "auto" else int(sys.argv[1]))
    for line in sys.stdin:
        wall, used = time.perf_counter(), stepping.processor_seconds()
        for _ in range(int(line)):
            stepping.step()
        print(time.perf_counter() - wall, stepping.processor_seconds() - used, flush=True)


if __name__ == "__main__":
    main()
