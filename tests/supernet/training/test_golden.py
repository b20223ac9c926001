"""The losses of the first 20 steps of each method on the default task, compared with recorded ones.

After a change that is meant to affect them, run ``python -m tests.supernet.training.test_golden`` and state
the reason.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from supernet.engine.readers import StepBudget
from supernet.runs.resolve import Resolved, resolve
from supernet.training.learning_rate import PiecewiseLinearLR
from supernet.training.optim import SkippingAdamW, parameter_groups
from supernet.training.schedule import Schedule
from supernet.training.step import StepLosses, supernet_of

GOLDEN = Path(__file__).with_name("golden.json")
METHODS = {
    "simple-top-k": [2, 3, 4],
    "iterative-zero-out": [2, 4],
    "on-demand": [2, 4],
    "individual": [4],
    "fixed": [2, 3, 4],
    "ortho-softmax": [2, 3, 4],
    "auto-train-once": [2, 4],
    "dais": [2, 4],
}
NUM_STEPS = 20


def settings(method: str, cache: Path) -> dict[str, Any]:
    """The default run except for its size, so that changes to the defaults show in the losses."""
    return {
        "method": {"name": method},
        "sizes": METHODS[method],
        "task": {"num_train": 120, "num_valid": 4, "num_test": 4, "batch_seconds": 10, "cache": str(cache)},
        "model": {"dim": 32, "num_heads": 2, "ffn_dim": 64, "frontend_channels": 4},
        "train": {"num_steps": NUM_STEPS},
    }


def losses(resolved: Resolved) -> list[float]:
    """The loss per frame of each step, computed as in the engine."""
    config, task = resolved.config, resolved.task
    task.prepare(lambda what, done, total: None)
    tokens = task.tokens()
    torch.manual_seed(config.seed)
    net = supernet_of(resolved.method, len(tokens))
    schedule = Schedule(resolved.method, net, config.seed)
    groups = parameter_groups(net, config.train)
    steps, skipped, in_a_row = StepLosses(net, schedule), net.skipped_updates, net.skipped_in_a_row
    optimizer = SkippingAdamW(groups, config.train, skipped, in_a_row, steps.end)
    scheduler = PiecewiseLinearLR(optimizer, config.train, resolved.method.travels())
    reader, found = task.train_reader(tokens, seed=config.seed, rank=0, num_ranks=1), []
    batches = StepBudget(reader, NUM_STEPS, 1, schedule.side)
    for step in range(NUM_STEPS):
        (batch,) = next(batches)
        batches.begin(step + 1)
        steps.begin(step)
        loss = steps.loss(batch)
        optimizer.zero_grad()
        (loss.total / loss.num_frames).backward()  # type: ignore[no-untyped-call]
        assert config.train.max_grad_norm is not None
        torch.nn.utils.clip_grad_norm_(net.parameters(), config.train.max_grad_norm)
        optimizer.step()
        scheduler.step()
        found.append(loss.total.item() / loss.num_frames)
    return found


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("golden")


@pytest.mark.parametrize("method", METHODS)
def test_the_losses_are_unchanged(method: str, cache: Path) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))[method]
    # Processors differ in the last digits, and training amplifies that.
    assert losses(resolve([settings(method, cache)])) == pytest.approx(golden, rel=1e-3)


def test_training_learns() -> None:
    for golden in json.loads(GOLDEN.read_text(encoding="utf-8")).values():
        assert len(golden) == NUM_STEPS
        assert min(golden[-3:]) < 0.8 * golden[0]


def main() -> None:
    """Write the recorded losses again."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        golden = {name: losses(resolve([settings(name, Path(folder))])) for name in METHODS}
    rounded = {name: [round(loss, 5) for loss in found] for name, found in golden.items()}
    GOLDEN.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{GOLDEN}\n")


if __name__ == "__main__":
    main()
