"""What a look at every utterance of a manifest folder found: features, and what cannot be used and why."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from lhotse.cut import Cut
from torch import Tensor

from supernet.batch import SPLITS, Report, Skipped, Split
from supernet.features import NUM_BANDS
from tasks.acoustics import Room
from tasks.audio import AudioError, load_features
from tasks.folder import LISTED, ManifestFolder

VERSION = 1
"""Part of the index folder's name: raise it when the content changes."""

STORED_HOURS = 20.0
"""Up to here features are stored (2.3 GB); those of longer corpora are computed whenever they are read."""


@dataclass(frozen=True, slots=True)
class Row:
    """An utterance whose audio is fine."""

    id: str
    text: str
    position: int
    """In the manifest of its split."""
    first_frame: int
    """In the stored features."""
    num_frames: int


class Index:
    """The outcome, read from ``path``."""

    def __init__(self, path: Path, folder: ManifestFolder) -> None:
        content = json.loads((path / "index.json").read_text(encoding="utf-8"))
        self.rows: dict[Split, list[Row]] = {
            split: [Row(*row) for row in content["rows"][split]] for split in SPLITS
        }
        self.skipped = [Skipped(*skipped) for skipped in content["skipped"]]
        self._stored: bool = content["stored"]
        self._path = path
        self._folder = folder

    def features(self, split: Split, row: Row, speed: float = 1.0, room: Room | None = None) -> Tensor:
        """Features ``(T, F)`` of ``row``, ``speed`` times as fast, in ``room``; stored ones are neither."""
        if speed != 1.0 or room is not None or not self._stored:
            return load_features(self._folder.cuts[split][row.position], speed, room)
        # Copied: PyTorch has no read-only tensors.
        return torch.from_numpy(np.array(self._frames[row.first_frame : row.first_frame + row.num_frames]))

    @cached_property
    def _frames(self) -> np.memmap[tuple[int, int], np.dtype[np.float32]]:
        frames = np.memmap(self._path / "features.f32", dtype=np.float32, mode="r")
        return frames.reshape(-1, NUM_BANDS)  # type: ignore[return-value]


def write_index(path: Path, folder: ManifestFolder, report: Report) -> None:
    """Decode every utterance of ``folder`` and write into ``path`` what was found."""
    stored = sum(cut.duration for split in SPLITS for cut in folder.cuts[split]) <= STORED_HOURS * 3600
    with open(path / "features.f32", "wb") as features:
        scan = _Scan(features if stored else None)
        total = sum(len(folder.cuts[split]) for split in SPLITS)
        for split in SPLITS:
            for position, cut in enumerate(folder.cuts[split]):
                scan.look_at(cut, split, position)
                report("computing features", scan.num_seen, total)
    rows = {split: [astuple(row) for row in scan.rows[split]] for split in SPLITS}
    content = {"rows": rows, "skipped": [astuple(skipped) for skipped in scan.skipped], "stored": stored}
    (path / "index.json").write_text(json.dumps(content), encoding="utf-8")


def write_skipped(path: Path, skipped: Iterable[Skipped]) -> Path:
    """List ``skipped`` in a file in ``path``, whole or not at all, and return it."""
    file = path / "skipped.tsv"
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    lines = (f"{one.split}\t{one.id}\t{one.reason}\n" for one in skipped)
    temporary.write_text("split\tid\treason\n" + "".join(lines), encoding="utf-8")
    temporary.replace(file)
    return file


class _Scan:
    """Rows found so far; features go to ``out`` one behind the other."""

    def __init__(self, out: BinaryIO | None) -> None:
        self.rows: dict[Split, list[Row]] = {split: [] for split in SPLITS}
        self.skipped: list[Skipped] = []
        self.num_seen = 0
        self._out = out
        self._num_frames = 0

    def look_at(self, cut: Cut, split: Split, position: int) -> None:
        self.num_seen += 1
        try:
            text = _text(cut)
            features = load_features(cut)
        except AudioError as error:
            self.skipped.append(Skipped(cut.id, split, str(error) + _place(cut)))
            return
        self.rows[split].append(Row(cut.id, text, position, self._num_frames, len(features)))
        if self._out is not None:
            self._out.write(features.numpy().tobytes())
            self._num_frames += len(features)


def _place(cut: Cut) -> str:
    """Where ``cut`` is listed, if its manifest was made from a listing."""
    custom = cut.supervisions[0].custom if cut.supervisions else None
    return f" ({custom[LISTED]})" if custom and LISTED in custom else ""


def _text(cut: Cut) -> str:
    if len(cut.supervisions) > 1:
        raise AudioError(
            f"{len(cut.supervisions)} supervisions: cut it with `lhotse cut trim-to-supervisions`"
        )
    text = " ".join((supervision.text or "") for supervision in cut.supervisions)
    # A line break or a tab would become a token.
    text = " ".join(text.split())
    if not text:
        raise AudioError("no text")
    return text
