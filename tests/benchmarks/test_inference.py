"""What recognising costs: by layers kept, and beside them the frontend and the loading of data.

Run: ``python -m pytest tests/benchmarks``.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch

from supernet.batch import BatchReader
from supernet.config import Config
from supernet.cut import cut
from supernet.model import Recogniser
from supernet.step import Pass, Plan, Step
from supernet.units import UnitTable
from tasks.manifest import Manifest, ManifestOptions
from tests.benchmarks.conftest import Ratio
from tests.benchmarks.test_step import NUM_TOKENS, make_batch
from tests.tasks.folders import write_folder

NUM_LAYERS = 12


@pytest.fixture
def net(device: torch.device) -> Recogniser:
    torch.manual_seed(0)
    return Recogniser(Config(sizes=(NUM_LAYERS,)), NUM_TOKENS).to(device).eval()


@torch.inference_mode()
def recognise(net: Recogniser, features: torch.Tensor) -> None:
    net.log_probs(features, [features.size(1)], net.table.full).argmax(-1).tolist()


@pytest.mark.parametrize("size", [3, 6, 9])
def test_time_against_layers_kept(size: int, net: Recogniser, device: torch.device, ratio: Ratio) -> None:
    small = cut(net, net.table.subnet(net.table.first(size)))
    features = torch.randn(1, 1000, 80, device=device)
    work, whole = lambda: recognise(small, features), lambda: recognise(net, features)
    found = ratio(work, whole, 9, what="of 12 layers")
    ratio.note(size / NUM_LAYERS, "layers kept")
    assert found < 1


def test_share_of_the_frontend(net: Recogniser, device: torch.device, ratio: Ratio) -> None:
    features = torch.randn(8, 1000, 80, device=device)
    lengths = [1000] * 8

    @torch.inference_mode()
    def frontend() -> None:
        net.embed(features, lengths)

    @torch.inference_mode()
    def everything() -> None:
        net.log_probs(features, lengths, net.table.full)

    assert ratio(frontend, everything, 9, what="share of a full pass") < 1 / 6


def test_share_of_loading(tmp_path: Path, ratio: Ratio) -> None:
    folder = write_folder(tmp_path / "tones", train=64, valid=6, test=8)
    task = Manifest(ManifestOptions(path=folder, cache=tmp_path / "data"))
    task.prepare(lambda what, done, total: None)
    tokens = task.tokens()
    reader = iter(task.train_reader(tokens, seed=0, rank=0, num_ranks=1))
    torch.manual_seed(0)
    net, plan = Recogniser(Config(sizes=(NUM_LAYERS,)), NUM_TOKENS), Plan((Pass(NUM_LAYERS, full()),))
    batch = make_batch()

    def step() -> None:
        loss = net(batch, Step(plan))
        (loss.total / loss.num_frames).backward()
        net.zero_grad(set_to_none=True)

    assert ratio(lambda: next(reader), step, 15, what="of a full-net step") < 1


@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_loading_in_threads(num_workers: int, tmp_path: Path, ratio: Ratio) -> None:
    """Batches whose audio is decoded and changed in speed, against one thread that does nothing else."""
    folder = write_folder(tmp_path / "tones", train=64, valid=6, test=8)

    def reader(num_workers: int) -> BatchReader:
        options = {"path": folder, "cache": tmp_path / "data", "speed_perturb": (0.9, 1.1)}
        task = Manifest(ManifestOptions.model_validate({**options, "num_workers": num_workers}))
        task.prepare(lambda what, done, total: None)
        return task.train_reader(task.tokens(), seed=0, rank=0, num_ranks=1)

    ahead, plain = reader(num_workers), reader(0)
    found = ratio(lambda: list(islice(ahead, 20)), lambda: list(islice(plain, 20)), what="of one by one")
    assert found > 0


def full() -> tuple[bool, ...]:
    return UnitTable.of(NUM_LAYERS, "layer", "conformer").full
