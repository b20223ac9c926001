"""The cost of a step with attention of our own, relative to one with the engine's, and of long utterances.

Run: ``python -m pytest tests/benchmarks/test_attention.py -n 0``, with one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch

from supernet.config import Config
from supernet.network import layers
from supernet.network.supernet_ctc import SupernetCTC
from supernet.plan import Pass, Plan
from supernet.task import Batch
from supernet.training.step import step_of
from tests.benchmarks.conftest import Ratio, Work
from tests.benchmarks.test_step import NUM_TOKENS, make_batch
from tests.supernet.network.test_attention import engine

BATCHES = {"short": (12, 230), "long": (3, 1000)}
"""Utterances, and frames of the longest."""
SIZE = 12


@contextmanager
def engines_attention() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(layers, "attend_relative", engine)
        yield


def make_net(dim: int, device: torch.device, precision: str = "float32") -> SupernetCTC:
    torch.manual_seed(0)
    net, train = {"dim": dim, "ffn_dim": 4 * dim}, {"precision": precision}
    config = Config.model_validate({"sizes": [SIZE], "model": net, "train": train})
    return SupernetCTC(config, NUM_TOKENS).to(device)


def training(net: SupernetCTC, batch: Batch) -> Work:
    plan = Plan((Pass(str(SIZE), net.table.full),))

    def step() -> None:
        loss = net(batch, step_of(plan, len(batch)))
        (loss.total / loss.num_frames).backward()
        net.zero_grad(set_to_none=True)

    return step


def recognition(net: SupernetCTC, batch: Batch) -> Work:
    @torch.inference_mode()
    def recognize() -> None:
        net.log_probs(batch.features_BTF, batch.num_frames, net.table.full).argmax(-1).tolist()

    return recognize


@pytest.mark.parametrize("what", [training, recognition])
@pytest.mark.parametrize("length", BATCHES)
@pytest.mark.parametrize("dim", [96, 384])
def test_own_attention_against_the_engines(
    dim: int, length: str, what: Callable[[SupernetCTC, Batch], Work], device: torch.device, ratio: Ratio
) -> None:
    work = what(make_net(dim, device), make_batch(*BATCHES[length], device))

    def with_the_engines() -> None:
        with engines_attention():
            work()

    assert ratio.of_processor(work, with_the_engines, 9 if dim == 96 else 3, what="of the engine's") > 0


@pytest.mark.parametrize("length", BATCHES)
@pytest.mark.parametrize("dim", [96, 384])
def test_bfloat16_against_float32_with_the_engines_attention(
    dim: int, length: str, device: torch.device, ratio: Ratio
) -> None:
    batch = make_batch(*BATCHES[length], device)
    work, exact = (training(make_net(dim, device, name), batch) for name in ("bfloat16", "float32"))

    def with_the_engines() -> None:
        with engines_attention():
            exact()

    assert ratio.of_processor(work, with_the_engines, 9 if dim == 96 else 3, what="of the engine's") > 0


@pytest.mark.parametrize("utterances", [(3, 1000), (1, 3000)], ids=["3 x 10 s", "1 x 30 s"])
def test_a_second_of_long_utterances_against_one_of_short_ones(
    utterances: tuple[int, int], device: torch.device, ratio: Ratio
) -> None:
    net, shorter = make_net(96, device), (14, 200)
    work, yardstick = (training(net, make_batch(*size, device)) for size in (utterances, shorter))
    seconds = [number * frames for number, frames in (utterances, shorter)]
    both = ratio.of_processor(work, yardstick, 9, what="of 14 x 2 s")
    assert ratio.note(both * seconds[1] / seconds[0], "by second of audio") > 0
