"""The costs of a run's sizes are measured in one thread, whatever number the process has otherwise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import torch
from torch.nn.modules.module import register_module_forward_hook

from supernet.evaluation.score_sizes import costs
from supernet.runs.model_file import Model
from supernet.system.devices import with_threads
from supernet.task import Task
from tests.supernet.encoders import TOKENS
from tests.supernet.tiny import batch, recognizer, tiny_config


def test_costs_are_measured_in_one_thread() -> None:
    """Several threads wait for each other at every operation: 20 times as long beside a busy program."""
    net, seen = recognizer(tiny_config()).float(), set[int]()
    subnets = {str(size): net.table.subnet(net.table.first(size)) for size in (2, 4)}
    corpus = cast(
        "Task", SimpleNamespace(eval_batches=lambda split, tokens: [batch([40, 30], dtype=torch.float32)])
    )
    hook = register_module_forward_hook(lambda *_: seen.add(torch.get_num_threads()))
    try:
        with with_threads(2):
            found = costs(Model(net, TOKENS), corpus, subnets)
            assert torch.get_num_threads() == 2
    finally:
        hook.remove()
    assert seen == {1}
    for quantity in ("params", "macs"):
        assert 0 < found["2"][quantity] < found["4"][quantity]
    assert found["2"]["rtf"] > 0
