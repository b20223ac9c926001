"""What a look at every utterance of a manifest folder found: features, and what cannot be used and why."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from lhotse.cut import Cut
from numpy.typing import NDArray
from torch import Tensor

from supernet.audio.features import NUM_BANDS
from supernet.audio.recordings import AudioError
from supernet.system.files import write_whole
from supernet.task import SPLITS, ProgressCallback, Skipped, Split
from supernet.text.spelling import control_characters, normal
from tasks.audio.acoustics import Room
from tasks.audio.cuts import load_features, sources
from tasks.audio.headers import look_at
from tasks.files.lines import Lines, open_numbers
from tasks.files.members import MEMBER
from tasks.files.problems import Unusable, short, some
from tasks.listing.entries import is_inside
from tasks.store.manifest_folder import LISTED, PART, ManifestFolder

VERSION = 4
"""Part of the index folder's name: raise it when the content changes."""

SKIPPED = "skipped.tsv"
"""Names what is left out."""

_COLUMNS = 3
"""Numbers kept of a row: position, first frame, number of frames."""


@dataclass(frozen=True, slots=True)
class Row:
    """An utterance whose audio is fine."""

    id: str
    text: str
    part: str | None
    """Of the split, where it has parts."""
    position: int
    """In the manifest of its split."""
    first_frame: int
    """In the stored features."""
    num_frames: int


class Rows:
    """Rows of a split, each made when asked for: in memory are at most three numbers of each."""

    def __init__(self, cuts: Lines, table_RC: NDArray[np.int64]) -> None:
        self._cuts, self._table_RC = cuts, table_RC

    def __len__(self) -> int:
        return len(self._table_RC)

    def __getitem__(self, number: int) -> Row:
        position, first_frame, num_frames = self._table_RC[number].tolist()
        cut = json.loads(self._cuts[position])
        (supervision,) = cut["supervisions"]
        part = (supervision.get("custom") or {}).get(PART)
        return Row(cut["id"], normal(supervision["text"]), part, position, first_frame, num_frames)

    def __iter__(self) -> Iterator[Row]:
        return (self[number] for number in range(len(self)))

    @property
    def num_frames(self) -> NDArray[np.int64]:
        """The length of each row."""
        return self._table_RC[:, 2]

    def where(self, chosen_R: NDArray[np.bool_]) -> Rows:
        """The rows of which it is true."""
        return self if bool(chosen_R.all()) else Rows(self._cuts, self._table_RC[chosen_R])


class Texts:
    """The texts of rows, read again in each iteration."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[str]:
        return (row.text for row in self._rows)


class Index:
    """The outcome, read from ``path``."""

    def __init__(self, path: Path, folder: ManifestFolder) -> None:
        content = json.loads((path / "index.json").read_text(encoding="utf-8"))
        self.skipped = [Skipped(*skipped) for skipped in content["skipped"]]
        self.rows = {
            split: Rows(
                folder.cuts[split].lines,
                open_numbers(path / f"{split}.rows", np.int64).reshape(-1, _COLUMNS),
            )
            for split in SPLITS
        }
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
    def _frames(self) -> NDArray[np.float32]:
        return open_numbers(self._path / "features.f32", np.float32).reshape(-1, NUM_BANDS)


def write_index(path: Path, folder: ManifestFolder, stored: bool, report: ProgressCallback) -> None:
    """Decode every utterance of ``folder`` and write into ``path`` what was found, features where
    ``stored``.
    """
    total = sum(len(folder.cuts[split]) for split in SPLITS)
    with open(path / "features.f32", "wb") as features:
        scan = _Scan(features if stored else None)
        for split in SPLITS:
            with open(path / f"{split}.rows", "wb") as rows:
                for position, cut in enumerate(folder.cuts[split]):
                    rows.write(scan.look_at(cut, split, position))
                    report("computing features", scan.num_seen, total)
    content = {"skipped": [astuple(skipped) for skipped in scan.skipped], "stored": stored}
    (path / "index.json").write_text(json.dumps(content), encoding="utf-8")


def write_skipped(path: Path, skipped: Iterable[Skipped]) -> Path:
    """List ``skipped`` in a file in ``path``, whole or not at all, and return it; the same again changes
    nothing.
    """
    file = path / SKIPPED
    rows = ((one.split, one.id, one.reason) for one in skipped)
    lines = ("\t".join(" ".join(cell.split()) for cell in row) + "\n" for row in rows)
    content = "split\tid\treason\n" + "".join(lines)
    if not file.is_file() or file.read_bytes() != content.encode(errors="backslashreplace"):
        write_whole(file, content)
    return file


class _Scan:
    """What was found so far; features go to ``out`` one behind the other."""

    def __init__(self, out: BinaryIO | None) -> None:
        self.skipped: list[Skipped] = []
        self.num_seen = 0
        self._out = out
        self._num_frames = 0

    def look_at(self, cut: Cut, split: Split, position: int) -> bytes:
        """The numbers of the cut's row; none where it cannot be used."""
        self.num_seen += 1
        try:
            _check_text(cut)
            features = load_features(cut)
            _check_files(cut)
        except (AudioError, Unusable) as error:
            self.skipped.append(Skipped(cut.id, split, short(error, 500) + _place(cut)))
            return b""
        first_frame = self._num_frames
        if self._out is not None:
            self._out.write(features.numpy().tobytes())
            self._num_frames += len(features)
        return np.array([position, first_frame, len(features)], np.int64).tobytes()


def _place(cut: Cut) -> str:
    """Where ``cut`` is listed, if its manifest was made from a listing."""
    custom = cut.supervisions[0].custom if cut.supervisions else None
    return f" ({short(custom[LISTED], 1000)})" if custom and LISTED in custom else ""


def _check_files(cut: Cut) -> None:
    """Raise ``AudioError`` where there is less of the audio than its header says."""
    if cut.custom and MEMBER in cut.custom:
        return  # places in a tar are checked when they are read
    for source in sources(cut):
        status = os.stat(source.source)
        if problem := _problem(source.source, status.st_size, status.st_mtime_ns):
            raise AudioError(problem)


@lru_cache(maxsize=256)
def _problem(file: str, size: int, time: int) -> str | None:
    """What is wrong with a file as it is; segments of one mostly follow each other."""
    try:
        look_at(Path(file), None, decode=False)
    except Unusable as error:
        return str(error)
    return None


def _check_text(cut: Cut) -> None:
    if len(cut.supervisions) > 1:
        raise AudioError(
            f"{len(cut.supervisions)} supervisions: cut it with `lhotse cut trim-to-supervisions`"
        )
    if any(not is_inside(part.start, part.duration, cut.duration) for part in cut.supervisions):
        (part,) = cut.supervisions
        raise AudioError(
            f"its text is that of {part.start:g} s to {part.end:g} s, but there are 0 s to {cut.duration:g} s"
        )
    texts = [supervision.text for supervision in cut.supervisions]
    if not all(text is None or isinstance(text, str) for text in texts):
        raise AudioError(f"its text must be a text, but is {short(repr(texts[0]))} instead")
    if found := control_characters("".join(map(normal, texts))):
        raise AudioError(f"its text must have no control characters, but has {some(found)}")
    if not any(map(normal, texts)):
        raise AudioError("no text")
