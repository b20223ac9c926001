"""A preview of the utterances that training would leave out, from their durations and texts alone: no audio
is decoded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from supernet.audio.features import LOG_MEL
from supernet.audio.specification import SAMPLE_RATE, WINDOW
from supernet.task import SPLITS, ProgressCallback, Skipped, Split, TaskError
from supernet.text.spelling import Case
from tasks.options import CorpusOptions
from tasks.reading.vocabulary import make_tokens
from tasks.store.index import Texts, Utterances
from tasks.store.manifest_folder import Cuts, ManifestFolder
from tasks.store.usable import check_share, find_usable, needed_frames


@dataclass(frozen=True)
class Preview:
    """The outcome for one set of options."""

    skipped: list[Skipped]
    """Utterances that training would leave out."""
    refusals: list[str]
    """Why training would refuse a split."""


def preview_training(path: Path, options: CorpusOptions, report: ProgressCallback) -> Preview:
    """Preview a training on the manifests in ``path``, by the same functions.

    Raises:
        TaskError: If a split is empty, or tokens cannot be made.
    """
    folder = ManifestFolder(path, options.cache_folder)
    folder.prepare(report)
    lengths = {split: _lengths(folder.cuts[split]) for split in SPLITS}
    utterances = {split: _utterances(folder.cuts[split], lengths[split], options.case) for split in SPLITS}
    kind = (options.tokens, options.vocab_size, options.byte_fallback)
    tokens = make_tokens(*kind, Texts(utterances["train"]), options.cache_folder)
    skipped, refusals = [], []
    for split in SPLITS:
        with TemporaryDirectory() as made:
            needed_U = needed_frames(utterances[split], tokens, Path(made), split)
            usable = find_usable(split, utterances[split], tokens, needed_U, options.limits(split))
        unusable = [*_too_short(folder.cuts[split], lengths[split], split), *usable.skipped]
        absent = [one for one in folder.left_out if one.split == split]
        total = len(folder.cuts[split]) + len(absent)
        skipped += unusable
        try:
            check_share([*absent, *unusable], total, split, options.max_skipped, usable.hints)
        except TaskError as error:
            refusals.append(str(error))
    return Preview(skipped, refusals)


def _lengths(cuts: Cuts) -> NDArray[np.int64]:
    """The number of samples of each cut at 16 kHz."""
    durations = np.fromiter((json.loads(line)["duration"] for line in cuts.lines), np.float64)
    return np.rint(durations * SAMPLE_RATE).astype(np.int64)


def _utterances(cuts: Cuts, lengths: NDArray[np.int64], case: Case) -> Utterances:
    """The utterances that the index will have if all audio is fine, without those too short for a frame."""
    position = np.flatnonzero(lengths >= WINDOW)
    num_frames = np.array([LOG_MEL.num_frames(n) for n in lengths[position].tolist()], np.int64)
    return Utterances(cuts.lines, np.stack([position, np.zeros_like(position), num_frames], axis=1), case)


def _too_short(cuts: Cuts, lengths: NDArray[np.int64], split: Split) -> list[Skipped]:
    found = np.flatnonzero(lengths < WINDOW).tolist()
    return [Skipped(cuts[number].id, split, f"too short: {lengths[number]} samples") for number in found]
