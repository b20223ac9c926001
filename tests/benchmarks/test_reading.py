"""The cost of reading batches of a task relative to a training step, in threads, and from tar shards.

Run: ``python -m pytest tests/benchmarks/test_reading.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest
import torch
from lhotse.cut import Cut

from supernet.config import Config
from supernet.network.supernet_ctc import SupernetCTC
from supernet.plan import Pass, Plan
from supernet.task import BatchReader
from supernet.training.step import step_of
from tasks.audio.cuts import load_samples
from tasks.manifest import Manifest, ManifestOptions
from tests.benchmarks.conftest import Ratio
from tests.benchmarks.test_step import NUM_TOKENS, make_batch
from tests.supernet.tiny import units_of
from tests.tasks.folders import quiet, write_folder
from tests.tasks.listings import pack
from tests.tasks.shards import audio, wave

NUM_LAYERS = 12
UTTERANCES = 60


def open_reader(folder: Path, cache: Path, **options: object) -> BatchReader:
    task = Manifest(ManifestOptions.model_validate({"path": folder, "cache": cache, **options}))
    task.prepare(quiet)
    return task.train_reader(task.tokens(), seed=0, rank=0, num_ranks=1)


def test_share_of_loading(tmp_path: Path, ratio: Ratio) -> None:
    folder = write_folder(tmp_path / "tones", train=64, valid=6, test=8)
    reader = open_reader(folder, tmp_path / "data")
    torch.manual_seed(0)
    full = units_of(NUM_LAYERS, "layer").full
    net, plan = SupernetCTC(Config(sizes=(NUM_LAYERS,)), NUM_TOKENS), Plan((Pass(str(NUM_LAYERS), full),))
    batch = make_batch()

    def step() -> None:
        loss = net(batch, step_of(plan, len(batch)))
        (loss.total / loss.num_frames).backward()
        net.zero_grad(set_to_none=True)

    assert ratio(lambda: next(reader), step, 15, what="of a full-network step") < 1


@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_loading_in_threads(num_workers: int, tmp_path: Path, ratio: Ratio) -> None:
    """Batches of decoded and speed-perturbed audio, relative to a single thread."""
    folder = write_folder(tmp_path / "tones", train=64, valid=6, test=8)
    ahead, plain = (
        open_reader(folder, tmp_path / "data", speed_perturb=(0.9, 1.1), num_workers=number)
        for number in (num_workers, 0)
    )
    found = ratio(lambda: list(islice(ahead, 20)), lambda: list(islice(plain, 20)), what="of one by one")
    assert found > 0


@pytest.mark.parametrize("seconds", [0.3, 10.0])
def test_reading_from_shards(seconds: float, tmp_path: Path, ratio: Ratio) -> None:
    """Decoding utterances from a tar file, relative to the same ones in separate files."""
    shard: dict[str, bytes] = {}
    lines = ["path,text,split"]
    for i in range(UTTERANCES):
        split = ("valid", "test", "train")[min(i, 2)]
        content = audio(wave(i, seconds=seconds), suffix="flac")
        (tmp_path / "loose").mkdir(exist_ok=True)
        (tmp_path / "loose" / f"{i}.flac").write_bytes(content)
        lines.append(f"{i}.flac,a b,{split}")
        shard |= {f"{i}.flac": content, f"{i}.json": f'{{"text": "a b", "split": "{split}"}}'.encode()}
    (tmp_path / "loose" / "all.csv").write_text("\n".join(lines) + "\n")
    pack(tmp_path / "packed" / "all.tar", shard)
    packed, loose = (cuts_of(tmp_path / name, tmp_path / "data") for name in ("packed", "loose"))
    assert ratio(lambda: decode(packed), lambda: decode(loose), 7, what="of loose files") > 0


def cuts_of(folder: Path, cache: Path) -> list[Cut]:
    task = Manifest(ManifestOptions(path=folder, cache=cache, max_skipped=0.5))
    task.prepare(quiet)
    return list(task.folder.cuts["train"])


def decode(cuts: Sequence[Cut]) -> None:
    for cut in cuts:
        load_samples(cut)
