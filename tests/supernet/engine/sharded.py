"""A short training of a network divided between two processes, and the same one in a single process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fairseq2.recipe.base  # noqa: F401  (first: the engine's own modules import each other in this order)
import torch
from fairseq2.gang import FakeGang, Gang, ProcessGroupGang, create_fsdp_gangs, create_parallel_gangs
from fairseq2.nn.fsdp import to_fsdp
from torch import Tensor, nn

from supernet.config import Config
from supernet.engine.gradients import Gradients
from supernet.engine.sharding import shard, whole
from supernet.network.supernet_ctc import SupernetCTC
from supernet.task import Batch
from supernet.training.averaging import Averages
from supernet.training.optim import SkippingAdamW, parameter_groups
from supernet.training.step import StepLosses
from tests.supernet import tiny
from tests.supernet.tiny import tiny_config
from tests.supernet.training.test_methods import schedule

NUM_STEPS = 12
FRAMES = ((60, 33, 15, 47, 52, 60), (41,))
"""By rank. The only utterance of the second rank is for one size, so its process has no rows for others."""
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "layers": ("simple-top-k", {}),
    "modules": ("simple-top-k", {"granularity": "module", "model": {"heads": "per-size"}}),
    "components": ("simple-top-k", {"granularity": "component"}),
    "zeroed": ("iterative-zero-out", {"passes": {"sharing": "batch"}, "train": {"recompute": True}}),
}


def config_of(case: str) -> Config:
    _, settings = CASES[case]
    model = {"dropout": 0.0, **settings.get("model", {})}
    averages = {"average_from": 0.2, "average_every": 2}
    train = {"num_steps": NUM_STEPS, "lr": 0.01, **averages, **settings.get("train", {})}
    passes = {"layer_drop": 0.3, "smallest_first": 0.5, **settings.get("passes", {})}
    return tiny_config(**{**settings, "model": model, "train": train, "passes": passes})


def batches(rank: int) -> Sequence[Batch]:
    return [tiny.batch(FRAMES[rank], seed=10 * step + rank) for step in range(NUM_STEPS)]


def run(
    case: str, ranks: Sequence[int], gang: Gang, divide: Callable[[SupernetCTC], nn.Module]
) -> dict[str, Tensor]:
    """Train on the batches of ``ranks``; return the final weights, and the losses of every step by rank."""
    config = config_of(case)
    options = {"score_learning": 0.5}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plans, net = schedule(CASES[case][0], config, **options)
    wrapped = divide(net.double())
    gradients, found = Gradients(wrapped, gang), dict[str, Tensor]()
    losses = {rank: StepLosses(wrapped, plans, rank) for rank in ranks}
    groups, counts = parameter_groups(wrapped, config.train), (net.skipped_updates, net.skipped_in_a_row)
    optimizer = SkippingAdamW(groups, config.train, *counts, norm=gradients.norm)
    averages = Averages(net, plans, config.train, optimizer)
    for step in range(NUM_STEPS):
        optimizer.zero_grad()
        for rank, steps in losses.items():
            steps.begin(step)
            loss = steps.loss(batches(rank)[step])
            loss.total.backward()  # type: ignore[no-untyped-call]
            gradients.count(loss.num_frames)
            found[f"loss/{rank}/{step}"] = loss.total.detach()
        found[f"norm/{step}"] = gradients.clip_grad_norm(1.0)
        optimizer.step()
        averages.update(step)
    found |= {f"average/{name}": whole(value) for name, value in averages.result().items()}
    return found | {name: whole(value).detach() for name, value in net.state_dict().items()}


def alone(case: str) -> dict[str, Tensor]:
    """Train on all batches in one process."""
    return run(case, (0, 1), FakeGang(torch.device("cpu")), lambda net: net)


def main(folder: Path) -> None:
    root = ProcessGroupGang.create_default_process_group(torch.device("cpu"))
    gangs = create_fsdp_gangs(create_parallel_gangs(root))

    def divide(net: SupernetCTC) -> nn.Module:
        return to_fsdp(net, gangs, lambda module, wrap: shard(module, "layer", wrap), version="v2")

    for case in CASES:
        found = run(case, (root.rank,), gangs.dp, divide)
        torch.save(found, folder / f"{case}-{root.rank}.pt")
    root.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
