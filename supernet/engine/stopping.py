"""How a training ends early, and how quiet the engine is while it runs."""

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
    """The trainer, with Ctrl-C as a request to stop at the end of the step, with everything saved."""

    def __init__(self, trainer: Trainer, checkpoints: CheckpointManager, gangs: Gangs) -> None:
        self._trainer, self._checkpoints, self._alone = trainer, checkpoints, gangs.root.size == 1

    def run(self) -> None:
        # Ranks would stop at different steps: there the newest checkpoint is what remains.
        with self._on_interrupt() if self._alone else contextlib.nullcontext():
            self._trainer.run()
        if self._alone:  # the trainer does not wait for its last one
            self._checkpoints.maybe_complete_save_operation(blocking=True)

    @contextlib.contextmanager
    def _on_interrupt(self) -> Iterator[None]:
        def stop(signum: int, frame: object) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # the second Ctrl-C is meant seriously
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
    """Keep the engine's start off the console and out of its log file, and close that file at the end.

    At its start it logs every environment variable with its value: not into a folder that travels.
    """
    logging.getLogger("fairseq2").setLevel(logging.WARNING)
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():  # the engine turns on its own, about its own parts
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
    """From here on the engine's log goes to the run folder; the console is for progress and results."""
    for handler in logging.getLogger().handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.ERROR)
    logging.getLogger("fairseq2").setLevel(logging.INFO)


def tells_of_an_end(error: BaseException) -> bool:
    """Whether ``error`` is what comes of waiting for another process of the training, which has ended."""
    cause = error.__cause__ if isinstance(error, OperationalError) else error
    # Gradients are averaged behind the engine's back, and Gloo has no exception of its own.
    return isinstance(cause, (GangError, DistError)) or "/gloo/" in str(cause)
