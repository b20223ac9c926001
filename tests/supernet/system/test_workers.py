"""Forked processes that share work: their answers, their errors and their termination."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from supernet.audio.features import INPUTS, InputName
from supernet.system.processes import Processes
from supernet.system.workers import Ended, Spread, Workers, shared_like
from tests.supernet import tiny
from tests.supernet.processes import environment


def answer(question: Any) -> Any:
    if isinstance(question, Exception):
        raise question
    if question == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if question == "pid":
        return os.getpid()
    return question


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_tensors_in_shared_memory_are_visible_to_all_processes() -> None:
    like = [torch.ones(3), torch.tensor(2), torch.zeros(0, 4), torch.ones(2, 5, dtype=torch.float64)]
    shared = shared_like(like)
    assert [(t.shape, t.dtype, float(t.sum())) for t in shared] == [(t.shape, t.dtype, 0.0) for t in like]
    assert all(t.data_ptr() % t.element_size() == 0 for t in shared if t.numel())

    def fill(number: int) -> None:
        shared[0].fill_(number)

    with Workers(Processes(2), fill) as workers:
        workers.ask(0, 7)
        workers.hear(0)
        assert shared[0].tolist() == [7, 7, 7]
        assert [float(t.sum()) for t in shared[1:]] == [0, 0, 0]


def test_answers_come_in_the_order_of_questions_with_equal_tensors() -> None:
    values = torch.arange(6.0).view(2, 3).t()
    with Workers(Processes(2), answer) as workers:
        for question in ("first", {"values": values}, torch.tensor(3)):
            workers.ask(0, question)
        assert workers.hear(0) == "first"
        assert torch.equal(workers.hear(0)["values"], values)
        assert workers.hear(0).item() == 3


@pytest.mark.parametrize("name", INPUTS)
def test_batches_of_any_input_arrive_unchanged(name: InputName) -> None:
    batch = replace(tiny.batch([60, 48]), input=INPUTS[name])
    with Workers(Processes(2), answer) as workers:
        workers.ask(0, batch)
        found = workers.hear(0)
    assert (found.input, found.num_frames, found.texts) == (batch.input, batch.num_frames, batch.texts)
    assert torch.equal(found.features_BTF, batch.features_BTF)


def test_an_error_is_raised_when_its_answer_is_awaited_and_work_continues() -> None:
    class Own(Exception):
        """Cannot be pickled, because it is local."""

    with Workers(Processes(2), answer) as workers:
        for question in (ValueError("wrong"), "next"):
            workers.ask(0, question)
        with pytest.raises(ValueError, match="wrong"):
            workers.hear(0)
        assert workers.hear(0) == "next"
    with Workers(Processes(2), lambda _: raise_(Own("mine"))) as workers:
        workers.ask(0, None)
        with pytest.raises(RuntimeError, match="Own: mine"):
            workers.hear(0)


def raise_(error: Exception) -> None:
    raise error


def test_every_question_to_a_killed_worker_is_an_error() -> None:
    with Workers(Processes(3), answer) as workers:
        workers.ask(1, "die")
        with pytest.raises(Ended, match=r"process 3 of the 3 .* but it was killed by SIGKILL, as happens"):
            workers.hear(1)
        workers.ask(1, "again")
        with pytest.raises(Ended, match="process 3"):
            workers.hear(1)
        workers.ask(0, "alive")
        assert workers.hear(0) == "alive"


def test_workers_ignore_signals_to_the_process_group() -> None:
    with Workers(Processes(2), answer) as workers:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(workers.pids[0], number)
        workers.ask(0, "still here")
        assert workers.hear(0) == "still here"


def test_closing_ends_all_workers_even_while_they_work() -> None:
    workers = Workers(Processes(3), answer)
    pids = workers.pids
    workers.ask(0, "an answer that is never read")
    assert all(is_running(pid) for pid in pids)
    workers.close()
    workers.close()
    assert not any(is_running(pid) for pid in pids)


PARENT = """
import sys, time
from supernet.system.processes import Processes
from supernet.system.workers import Workers
workers = Workers(Processes(3), lambda seconds: time.sleep(seconds))
workers.ask(0, 600)
print(*workers.pids, flush=True)
if sys.argv[1] == "exit":
    sys.exit()
time.sleep(600)
"""


@pytest.mark.parametrize("end", ["kill", "exit"])
def test_workers_end_with_their_parent(end: str, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, end], stdout=subprocess.PIPE, text=True, env=environment(tmp_path)
    )
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    if end == "kill":
        parent.kill()
    assert parent.wait(timeout=60) == (-signal.SIGKILL if end == "kill" else 0)
    limit = time.monotonic() + 60
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.mark.parametrize("count", [1, 3])
def test_spread_questions_are_answered_in_order_by_all_processes(count: int) -> None:
    def work(question: int) -> tuple[int, int]:
        time.sleep(0.005)
        return question**2, os.getpid()

    with Workers(Processes(count), work) as workers:
        spread = Spread(workers, work)
        for repetition in range(2):
            for number in range(20):
                spread.ask(number + repetition)
            squares, pids = zip(*spread.answers(), strict=True)
            assert squares == tuple((number + repetition) ** 2 for number in range(20))
            assert set(pids) == {os.getpid(), *workers.pids}


def test_the_memory_of_workers_is_what_they_allocated_themselves() -> None:
    kept = []

    def take(megabytes: int) -> None:
        kept.append(bytearray(b"x") * (megabytes << 20))

    with Workers(Processes(2), take) as workers:
        before = workers.other_memory()
        workers.ask(0, 200)
        workers.hear(0)
        assert 190 << 20 < workers.other_memory() - before < 220 << 20
