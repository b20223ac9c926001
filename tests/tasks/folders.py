"""Small corpora for tests, with tones instead of speech."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from lhotse import CutSet, Recording, SupervisionSegment
from lhotse.cut import Cut

from supernet.audio.specification import SAMPLE_RATE
from supernet.task import SPLITS, Split
from tasks.manifest import Manifest
from tasks.store.manifest_folder import Clip, manifest_path, write_split


def quiet(what: str, done: int, total: int) -> None:
    """Report nothing."""


def tone(
    seconds: float, hertz: float = 440.0, rate: int = SAMPLE_RATE
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A sine wave at half the full scale."""
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def utterances(split: Split, number: int, text: str = "a bc") -> list[Clip]:
    """Tones of 0.5 to 1.3 s with a text."""
    return [
        Clip(f"{split}-{i}", text, torch.from_numpy(tone(0.5 + (i * 7 % 9) / 10, 200 + 10 * i)), "sine", {})
        for i in range(number)
    ]


def write_folder(folder: Path, train: int = 40, valid: int = 4, test: int = 5) -> Path:
    """Write a manifest folder with the given number of utterances in each split."""
    for split, number in zip(SPLITS, (train, valid, test), strict=True):
        write_split(folder, split, utterances(split, number))
    return folder


def add_files(folder: Path, split: Split, files: list[tuple[Path, str]]) -> None:
    """Replace the manifest of ``split`` by one of whole recordings with their texts."""
    cuts = (_cut(path, text) for path, text in files)
    CutSet.from_cuts(cuts).to_file(manifest_path(folder, split))


def _cut(path: Path, text: str) -> Cut:
    recording = Recording.from_file(path, recording_id=path.stem)
    supervision = SupervisionSegment(path.stem, path.stem, start=0, duration=recording.duration, text=text)
    cut: Cut = recording.to_cut()
    cut.supervisions = [supervision]
    return cut


def write_wav(path: Path, samples: np.ndarray[Any, Any], rate: int = SAMPLE_RATE) -> Path:
    """Write a WAV file, and create its folder if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)
    return path


def numbers_of_cuts(folder: Path) -> list[int]:
    """Count the cuts of each split."""
    return [sum(1 for _ in CutSet.from_file(manifest_path(folder, split))) for split in SPLITS]


def prepared(folder: Path, **options: Any) -> Manifest:
    """Prepare a task on ``folder``, with the cache beside it."""
    task = Manifest(
        Manifest.Options.model_validate({"path": folder, "cache": folder.parent / "cache", **options})
    )
    task.prepare(quiet)
    return task
