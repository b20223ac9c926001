"""Small shards for tests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from supernet.task import Skipped
from tests.tasks.folders import prepared, tone
from tests.tasks.listings import pack

FORMATS: dict[str, dict[str, str]] = {
    "wav": {},
    "flac": {},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3"},
    "sph": {"format": "NIST", "subtype": "PCM_16"},
}


def wave(i: int, rate: int = 16_000, channels: int = 1, seconds: float | None = None) -> np.ndarray[Any, Any]:
    """Noise added to a tone, different for every ``i`` and channel."""
    length = seconds or 0.6 + i % 5 / 10
    noise = np.random.default_rng(i).uniform(-0.3, 0.3, (round(length * rate), channels))
    mixed: np.ndarray[Any, Any] = noise + 0.5 * tone(length, 200 + 30 * i, rate)[:, None]
    return mixed


def audio(samples: np.ndarray[Any, Any], rate: int = 16_000, suffix: str = "wav") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **({"format": suffix.upper()} | FORMATS[suffix]))
    return file.getvalue()


def sample(key: str, text: str | None = "a bc", i: int = 0) -> dict[str, bytes]:
    return {f"{key}.wav": audio(wave(i))} | ({} if text is None else {f"{key}.txt": text.encode()})


def good(folder: Path, *splits: str) -> Path:
    """Write a valid shard of five utterances for each of ``splits``."""
    for split in splits:
        utterances = (sample(f"{split}{i}", i=i) for i in range(5))
        pack(folder / f"{split}-000000.tar", {n: c for files in utterances for n, c in files.items()})
    return folder


def skipped(folder: Path) -> set[tuple[str, str, str, str]]:
    """Split, name, kind of problem and place (without folders) of each utterance that is left out."""
    return {short(one) for one in prepared(folder, max_skipped=0.95).skipped()}


def short(one: Skipped) -> tuple[str, str, str, str]:
    kind, _, rest = one.reason.partition(":")
    return one.split, one.id, kind, rest.rpartition("(")[2].rstrip(")").rpartition("/")[2]


def repack(tar: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> None:
    with tarfile.open(tar) as archive:
        files = {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]
    pack(tar, change(files))
