"""Stopping a training early, and the engine's logging."""

from __future__ import annotations

import contextlib
import logging
import signal
import warnings
from collections.abc import Iterator

from fairseq2.checkpoint import CheckpointManager
from fairseq2.error import OperationalError
from fairseq2.gang import GangError, Gangs
from fairseq2.task import Task as EngineTask
from fairseq2.trainer import Trainer
from torch.distributed import DistError


class StoppableTask(EngineTask):
    """The trainer, which Ctrl-C stops at the end of the current step after everything is saved."""

    def __init__(self, trainer: Trainer, checkpoints: CheckpointManager, gangs: Gangs) -> None:
        self._trainer, self._checkpoints, self._alone = trainer, checkpoints, gangs.root.size == 1

    def run(self) -> None:
        # Several ranks would stop at different steps, so that the newest checkpoint remains their last.
        with self._on_interrupt() if self._alone else contextlib.nullcontext():
            self._trainer.run()
        if self._alone:  # the trainer does not wait until its last checkpoint is written
            self._checkpoints.maybe_complete_save_operation(blocking=True)

    @contextlib.contextmanager
    def _on_interrupt(self) -> Iterator[None]:
        def stop(signum: int, frame: object) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C ends it at once
            self._trainer.request_stop()

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def request_stop(self) -> None:
        self._trainer.request_stop()

    def close(self) -> None:
        self._trainer.close()

    @property
    def step_nr(self) -> int:
        return self._trainer.step_nr


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress the engine's messages at its start, and close its log file at the end.

    At its start, it logs the values of all environment variables, which must not end up in a run folder that
    may be shared.
    """
    logging.getLogger("fairseq2").setLevel(logging.WARNING)
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():  # the engine enables deprecation warnings about its internals
            logging.captureWarnings(True)
            yield
    finally:
        logging.captureWarnings(False)
        logging.getLogger("fairseq2").setLevel(logging.WARNING)
        root = logging.getLogger()
        for handler in list(root.handlers):
            root.removeHandler(handler)
            handler.close()


def log_to_file_only() -> None:
    """Send the engine's log to the run folder from here on, and keep the console for progress and results."""
    for handler in logging.getLogger().handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.ERROR)
    logging.getLogger("fairseq2").setLevel(logging.INFO)


def tells_of_an_end(error: BaseException) -> bool:
    """Whether ``error`` is due to waiting for another process of the training that has ended."""
    cause = error.__cause__ if isinstance(error, OperationalError) else error
    # PyTorch averages gradients without the engine, and Gloo does not define an exception.
    return isinstance(cause, (GangError, DistError)) or "/gloo/" in str(cause)
