"""Processes forked from this one, which share its work.

Nothing is imported or loaded again in a forked process, and messages pass through pipes, so that no port is
opened and a process that waits uses no processor time.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import multiprocessing
import os
import pickle
import signal
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from mmap import mmap
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any

import torch
from torch import Tensor

from supernet.errors import UserError
from supernet.system.processes import Processes, peak_memory

_ALIGNMENT = 64
"""Of tensors in shared memory, in bytes: a cache line."""
_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux's prctl."""

_LEFT_TO_PARENT = (signal.SIGINT, signal.SIGTERM)


class Ended(UserError):
    """A worker that has ended, although it should not have."""


def shared_like(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Zeros of the shapes and types of ``tensors``, in memory shared with processes that are forked later."""
    ends = [0]
    for tensor in tensors:
        ends.append(ends[-1] + -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT)
    memory = torch.frombuffer(mmap(-1, max(1, ends[-1])), dtype=torch.uint8)
    parts = (memory[at : at + tensor.nbytes] for at, tensor in zip(ends, tensors, strict=False))
    return [part.view(like.dtype).view(like.shape) for part, like in zip(parts, tensors, strict=True)]


class Workers:
    """Processes forked from this one, each of which answers questions in turn.

    They end with this process, however it ends. Signals that stop a whole group of processes, such as Ctrl-C,
    leave them to this process, which may have to finish what they are needed for.
    """

    def __init__(self, processes: Processes, answer: Callable[[Any], Any]) -> None:
        """
        Args:
            processes: All processes, of which this is the first.
            answer: Called in the others with each question; returns plain data or tensors on the CPU.
        """
        context = multiprocessing.get_context("fork")
        self._ours: list[Connection] = []
        self._processes: list[ForkProcess] = []
        self.close = weakref.finalize(self, _end, self._ours, self._processes)
        """End the processes. Also happens when this object is no longer used, or this process ends."""
        for _ in range(processes.count - 1):
            ours, theirs = context.Pipe()
            self._ours.append(ours)
            serve = partial(_serve, theirs, list(self._ours), answer, processes.num_threads or 1, os.getpid())
            process = context.Process(target=serve)
            with _without_signals():
                process.start()
            theirs.close()
            self._processes.append(process)

    def __len__(self) -> int:
        return len(self._processes)

    @property
    def pids(self) -> list[int]:
        return [process.pid or 0 for process in self._processes]

    def ask(self, worker: int, question: object) -> None:
        """Send a question. A worker answers its questions in order."""
        with contextlib.suppress(OSError):  # it has ended, as `hear` will notice
            self._ours[worker].send_bytes(_dumped(question))

    def hear(self, worker: int) -> Any:
        """Wait for the answer to the oldest question that was not answered yet.

        Raises:
            Ended: The worker has ended.
            Exception: The one that was raised in the worker.
        """
        try:
            succeeded, answer = pickle.loads(self._ours[worker].recv_bytes())
        except (EOFError, OSError):
            raise Ended(self._why(worker)) from None
        if not succeeded:
            raise answer
        return answer

    def has_answered(self, worker: int) -> bool:
        """Whether ``hear`` would not wait."""
        return self._ours[worker].poll()

    def _why(self, worker: int) -> str:
        process = self._processes[worker]
        process.join(10)
        status = process.exitcode
        how = f"it ended with status {status}"
        if status is not None and status < 0:
            how = f"it was killed by {signal.Signals(-status).name}"
            if -status == signal.SIGKILL:
                how += ", as happens when memory is short"
        return (
            f"process {worker + 2} of the {len(self) + 1} that compute this must answer, but {how}. What was "
            "saved is kept, and the same command continues."
        )

    def other_memory(self) -> int:
        """The memory in bytes that they have used at most in addition to that of this process."""
        for worker in range(len(self)):
            self.ask(worker, _PEAK)
        return sum(int(self.hear(worker)) for worker in range(len(self)))

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Spread:
    """Questions that are answered by whichever process is free: one of ``workers``, or this one."""

    def __init__(self, workers: Workers, answer: Callable[[Any], Any]) -> None:
        self._workers, self._answer = workers, answer
        self._answers = deque[Any]()
        self._busy: dict[int, int] = {}
        """By worker, the index of the question that it is answering."""

    def ask(self, question: object) -> None:
        """Hand ``question`` to a free worker, or else answer it here."""
        self._answers.append(None)
        for worker in range(len(self._workers)):
            if worker in self._busy and self._workers.has_answered(worker):
                self._hear(worker)
            if worker not in self._busy:
                self._busy[worker] = len(self._answers) - 1
                self._workers.ask(worker, question)
                return
        self._answers[-1] = self._answer(question)

    def answers(self) -> Iterator[Any]:
        """Wait for all answers, and return them in the order of the questions."""
        for worker in list(self._busy):
            self._hear(worker)
        found, self._answers = self._answers, deque()
        return iter(found)

    def _hear(self, worker: int) -> None:
        self._answers[self._busy.pop(worker)] = self._workers.hear(worker)


_PEAK = "peak memory"


@contextlib.contextmanager
def _without_signals() -> Iterator[None]:
    """Delay the signals that a new process is going to ignore until it does."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _LEFT_TO_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(connections: Sequence[Connection], processes: Sequence[ForkProcess]) -> None:
    for connection in connections:
        connection.close()
    for process in processes:
        process.kill()  # whatever it is doing, nobody wants to know
        process.join()


def _serve(
    connection: Connection,
    others: Sequence[Connection],
    answer: Callable[[Any], Any],
    num_threads: int,
    parent: int,
) -> None:
    """Answer questions until the other end of ``connection`` is closed; never returns."""
    try:
        for number in _LEFT_TO_PARENT:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _LEFT_TO_PARENT)
        with contextlib.suppress(OSError, AttributeError):  # elsewhere than on Linux
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() == parent:
            for other in others:  # so that they are closed when the parent closes them
                other.close()
            torch.set_num_threads(num_threads)
            _answer_all(connection, answer)
    finally:
        os._exit(0)  # without what the parent would do at its end


def _answer_all(connection: Connection, answer: Callable[[Any], Any]) -> None:
    start = peak_memory()  # shared with the process that this one was forked from
    with contextlib.suppress(EOFError, OSError):
        while True:
            question = pickle.loads(connection.recv_bytes())
            try:
                found = True, peak_memory() - start if question == _PEAK else answer(question)
            except Exception as e:
                found = False, _picklable(e)
            connection.send_bytes(_dumped(found))


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


class _Pickler(pickle.Pickler):
    """Copies tensors as arrays: PyTorch would send handles of shared files."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return torch.from_numpy, (value.detach().numpy(),)
        return NotImplemented


def _dumped(value: object) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()
