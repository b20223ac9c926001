"""Training with fairseq2's recipe and trainer ("the engine"), which no other package uses.

The engine provides data parallelism, mixed precision, checkpoints, metrics and resuming. The schedule and
the model determine what a step does. The length of a run is set in epochs, with a reader that ends after the
last step, because the engine ignores requests to stop when it is set in steps.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from fairseq2.error import OperationalError
from fairseq2.recipe.run import run as run_recipe
from fairseq2.task import TaskStopException

from supernet.engine.checkpoints import CheckpointError
from supernet.engine.recipe import Result, SupernetRecipe, TrainingRequest, engine_config
from supernet.engine.stopping import quiet, tells_of_an_end
from supernet.engine.train_unit import Observer, SupernetUnit
from supernet.errors import Divergence, UserError
from supernet.system.devices import chosen_device, with_threads
from supernet.training.parallel import processes_of

__all__ = ["CheckpointError", "Observer", "Result", "SupernetUnit", "TrainingRequest", "train"]

_DEVICE = "FAIRSEQ2_DEVICE"


class Left(UserError):
    """The training cannot continue because another of its processes has ended."""


def train(request: TrainingRequest, observer: Observer) -> Result:
    """Train for the configured number of steps, resuming from the newest checkpoint in the folder.

    Raises:
        Divergence: Gradients were not finite in too many consecutive updates.
        KeyboardInterrupt: A stop was requested; everything is saved.
        CheckpointError: The training cannot be resumed.
        Left: Another process of the training has ended.
        Ended: Likewise, if this process started it.
        OSError: A file cannot be read or written.
    """
    config, processes = request.config, processes_of(request.config)
    recipe = SupernetRecipe(request, observer, processes)
    with quiet(), _on(config.device), with_threads(processes.num_threads), contextlib.closing(recipe):
        try:
            run_recipe(recipe, engine_config(config, processes), request.folder, no_progress=True)
            return recipe.result()
        except TaskStopException:
            raise KeyboardInterrupt from None
        except (UserError, Divergence):
            raise
        except Exception as e:
            if tells_of_an_end(e):
                raise Left(
                    f"process {os.environ.get('RANK', '0')} must hear from the other processes of this "
                    "training, but one of them has ended: it says why, unless it was killed."
                ) from None
            if isinstance(e, OperationalError):  # the engine hides a full disk behind an error of its own
                raise (e.__cause__ if isinstance(e.__cause__, OSError) else e) from None
            # Restoring data of unknown origin can fail in any way.
            if recipe.reader.restoring is None:
                raise
            raise CheckpointError(
                f"'{recipe.reader.restoring}' must fit this training, but does not: {_reason(e)}"
            ) from None


@contextlib.contextmanager
def _on(device: str | None) -> Iterator[None]:
    """Set the environment variable from which the engine reads its device, restoring it at the end."""
    before = os.environ.get(_DEVICE)
    if device is not None:
        os.environ[_DEVICE] = str(chosen_device(device))
    try:
        yield
    finally:
        os.environ.pop(_DEVICE, None)
        if before is not None:
            os.environ[_DEVICE] = before


def _reason(error: BaseException) -> str:
    """The innermost cause in one line; the engine wraps errors in its own, which name its internals."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join((str(error) or type(error).__name__).split())[:300]
