"""Memory grows by only a few bytes per utterance, counted in allocations of Python and NumPy."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from torch import Tensor

from supernet.audio.specification import NUM_BANDS
from supernet.task import SPLITS
from supernet.text.tokens import Tokens
from tasks.audio.acoustics import Acoustics, Room
from tasks.audio.augmentation import SpecAugment
from tasks.files.lines import Lines, open_numbers, write_lines
from tasks.manifest import Manifest
from tasks.reading.collation import Collator
from tasks.reading.train_reader import Augmentation, Batching, TrainReader
from tasks.store.index import Utterance, Utterances
from tasks.store.manifest_folder import manifest_path
from tests.tasks.folders import prepared, quiet, tone, write_wav

MAX_BYTES = 64
"""Maximum number of bytes per utterance: a few numbers. A cut takes thousands."""


def peak(work: Callable[[], object]) -> int:
    """The peak number of bytes that ``work`` allocates, including its result."""
    gc.collect()
    tracemalloc.start()
    try:
        _ = work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def write_segments(folder: Path, number: int) -> Path:
    """Write ``number`` training utterances, which are segments of one recording, and one per other split."""
    recording = Recording.from_file(write_wav(folder / "tone.wav", tone(10.0)), recording_id="tone")
    for split, count in zip(SPLITS, (number, 1, 1), strict=True):
        cuts = [_segment(f"{split}-{i}", i, recording) for i in range(count)]
        CutSet.from_cuts(cuts).to_file(manifest_path(folder, split))
    return folder


def _segment(id: str, i: int, recording: Recording) -> MonoCut:
    supervision = SupervisionSegment(id, "tone", 0.0, 0.1, text="ab"[i % 2])
    return MonoCut(id, i % 90 / 10, 0.1, 0, supervisions=[supervision], recording=recording)


def test_opening_a_prepared_corpus_takes_a_few_bytes_per_utterance(tmp_path: Path) -> None:
    peaks = {}
    for number in (50, 50, 850):  # the first one includes one-time allocations
        folder = tmp_path / str(number) / "segments"
        if not folder.exists():
            prepared(write_segments(folder, number))

        def opened(folder: Path = folder) -> tuple[Manifest, object]:
            options = {"path": folder, "cache": folder.parent / "cache"}
            task = Manifest(Manifest.Options.model_validate(options))
            task.prepare(quiet)
            assert task.skipped() == []
            return task, task.train_reader(task.tokens(), seed=0, rank=0, num_ranks=1)

        peaks[number] = peak(opened)
    assert peaks[850] - peaks[50] < MAX_BYTES * 800


def indexed(folder: Path, number: int) -> Utterances:
    """Write an index of utterances of 1 to 10 s, without audio."""
    folder.mkdir(exist_ok=True)
    texts = ({"id": f"u{i}", "supervisions": [{"text": "a"}]} for i in range(number))
    write_lines(folder / f"{number}.jsonl", (json.dumps(text).encode() for text in texts))
    table = np.stack([np.arange(number), np.zeros(number, int), 100 + np.arange(number) * 7 % 901], axis=1)
    table.astype(np.int64).tofile(folder / f"{number}.rows")
    numbers = open_numbers(folder / f"{number}.rows", np.int64).reshape(-1, 3)
    return Utterances(Lines(folder / f"{number}.jsonl"), numbers)


def silence(utterance: Utterance, speed: float = 1.0, room: Room | None = None) -> Tensor:
    return torch.zeros(utterance.num_frames, NUM_BANDS)


def test_drawing_batches_takes_a_few_bytes_per_utterance(tmp_path: Path) -> None:
    """Lhotse's sampler buffers at most 20,000 utterances."""
    peaks = {}
    for number in (22_000, 44_000):
        reader = TrainReader(
            indexed(tmp_path, number),
            Collator(silence, Tokens(("<blk>", "a"))),
            Batching(20.0),
            Augmentation(SpecAugment(), Acoustics(None, None)),
        )
        peaks[number] = peak(lambda reader=reader: next(reader))  # type: ignore[misc]
    assert peaks[44_000] - peaks[22_000] < MAX_BYTES * 22_000
