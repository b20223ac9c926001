"""Statistics of the training data by which a streaming network normalizes features."""

from __future__ import annotations

from collections.abc import Iterator

from supernet.network.streaming.frontend import StreamingFrontend
from supernet.network.supernet_ctc import SupernetCTC
from supernet.task import Batch, Task
from supernet.text.tokens import Tokens

_FRAMES = 60_000
"""Feature frames that are measured, as whole batches: ten minutes of speech."""


def measure_features(net: SupernetCTC, task: Task, tokens: Tokens) -> None:
    """Give a new streaming network the statistics of the first training batches; all processes measure the
    same ones. A network with the weights of `model.init` has those of its own training.
    """
    config = net.config
    if isinstance(net.frontend, StreamingFrontend) and config.model.init is None:
        reader = task.train_reader(tokens, seed=config.seed, rank=0, num_ranks=1)
        net.frontend.measure(_first(iter(reader)))


def _first(batches: Iterator[Batch]) -> Iterator[Batch]:
    count = 0
    while count < _FRAMES:
        batch = next(batches)
        count += sum(batch.num_frames)
        yield batch
