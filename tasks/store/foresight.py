"""What a training would leave out of manifests, before their audio is decoded: lengths and texts tell."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from supernet.audio.features import INPUTS, LOG_MEL, SAMPLE_RATE
from supernet.task import SPLITS, ProgressCallback, Skipped, Split, TaskError
from tasks.audio.cuts import SHORTEST
from tasks.options import CorpusOptions
from tasks.reading.vocabulary import make_tokens
from tasks.store.index import Rows, Texts
from tasks.store.manifest_folder import Cuts, ManifestFolder
from tasks.store.usable import Usable, check_share, needed_frames, of_split


@dataclass(frozen=True)
class Foresight:
    """What will be left out by the choice of tokens and settings, and why a split would be refused."""

    skipped: list[Skipped]
    refusals: list[str]


def foresee(path: Path, options: CorpusOptions, report: ProgressCallback) -> Foresight:
    """What a training with ``options`` on the manifests in ``path`` would say, by the same functions.

    Raises ``TaskError`` where a split is empty, or no tokens can be made.
    """
    folder = ManifestFolder(path, options.cache_folder)
    folder.prepare(report)
    lengths = {split: _lengths(folder.cuts[split]) for split in SPLITS}
    rows = {split: _rows(folder.cuts[split], lengths[split]) for split in SPLITS}
    choice = (options.tokens, options.vocab_size, options.byte_fallback)
    tokens = make_tokens(*choice, Texts(rows["train"]), options.cache_folder)
    skipped, refusals = [], []
    for split in SPLITS:
        short = _too_short(folder.cuts[split], lengths[split], split)
        speeds = options.speed_perturb if split == "train" else ()
        with TemporaryDirectory() as made:
            needed_R = needed_frames(rows[split], tokens, Path(made), split)
            input = INPUTS[options.input]
            usable = Usable(
                split, rows[split], tokens, needed_R, speeds or (1.0,), options.max_seconds, input
            )
            unusable = [*short, *usable.skipped()]
            never_there = of_split(folder.left_out, split)
            total = len(folder.cuts[split]) + len(never_there)
            skipped += unusable
            try:
                check_share([*never_there, *unusable], total, split, options.max_skipped, usable.hints())
            except TaskError as error:
                refusals.append(str(error))
    return Foresight(skipped, refusals)


def _lengths(cuts: Cuts) -> NDArray[np.int64]:
    """Samples of each cut at 16 kHz."""
    durations = np.fromiter((json.loads(line)["duration"] for line in cuts.lines), np.float64)
    return np.rint(durations * SAMPLE_RATE).astype(np.int64)


def _rows(cuts: Cuts, lengths: NDArray[np.int64]) -> Rows:
    """The rows that there will be if all audio is fine, but for what is too short for any features."""
    position = np.flatnonzero(lengths >= SHORTEST)
    num_frames = np.array([LOG_MEL.num_frames(n) for n in lengths[position].tolist()], np.int64)
    return Rows(cuts.lines, np.stack([position, np.zeros_like(position), num_frames], axis=1))


def _too_short(cuts: Cuts, lengths: NDArray[np.int64], split: Split) -> list[Skipped]:
    found = np.flatnonzero(lengths < SHORTEST).tolist()
    return [Skipped(cuts[number].id, split, f"too short: {lengths[number]} samples") for number in found]
