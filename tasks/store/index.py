"""The index of a manifest folder: every utterance with usable audio, its features if they are stored, and the
reasons why the others were skipped.

Shapes: U utterances, C columns, T frames, F bands.
"""

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

from supernet.audio.specification import NUM_BANDS
from supernet.errors import AudioError
from supernet.system.files import write_whole
from supernet.task import SPLITS, ProgressCallback, Skipped, Split
from supernet.text.spelling import Case, control_characters, in_case, normal
from tasks.audio.cuts import load_features, sources
from tasks.audio.headers import read_header
from tasks.audio.segments import is_inside
from tasks.files.lines import Lines, open_numbers
from tasks.files.members import MEMBER
from tasks.files.problems import Unusable, first_few, shorten
from tasks.store.manifest_folder import LISTED, PART, ManifestFolder

VERSION = 4
"""Part of the index folder's name; raise it when the content changes."""

SKIPPED = "skipped.tsv"
"""The list of skipped utterances."""

_COLUMNS = 3
"""Numbers stored per utterance: position, first frame, number of frames."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """An utterance whose audio can be used."""

    id: str
    text: str
    part: str | None
    """The part of its split, if the split has parts."""
    position: int
    """Its position in the manifest of its split."""
    first_frame: int
    """Its first frame in the stored features."""
    num_frames: int
    """Its length in frames of 10 ms."""


class Utterances:
    """The utterances of a split, each created on access; memory holds at most three numbers for each.

    Args:
        lines: The cuts of the split in JSON.
        table_UC: Position, first frame and number of frames of each utterance.
        case: The case of their texts.
    """

    def __init__(self, lines: Lines, table_UC: NDArray[np.int64], case: Case = "as-is") -> None:
        self._lines, self._table_UC, self.case = lines, table_UC, case

    def __len__(self) -> int:
        return len(self._table_UC)

    def __getitem__(self, number: int) -> Utterance:
        position, first_frame, num_frames = self._table_UC[number].tolist()
        cut = json.loads(self._lines[position])
        (supervision,) = cut["supervisions"]
        part = (supervision.get("custom") or {}).get(PART)
        text = normal(in_case(supervision["text"] or "", self.case))
        return Utterance(cut["id"], text, part, position, first_frame, num_frames)

    def __iter__(self) -> Iterator[Utterance]:
        return (self[number] for number in range(len(self)))

    @property
    def num_frames(self) -> NDArray[np.int64]:
        """The length of each utterance in frames of 10 ms."""
        return self._table_UC[:, 2]

    def where(self, chosen_U: NDArray[np.bool_]) -> Utterances:
        """Select the utterances for which ``chosen_U`` is true."""
        is_all = bool(chosen_U.all())
        return self if is_all else Utterances(self._lines, self._table_UC[chosen_U], self.case)


class Texts:
    """The texts of some utterances, read again in each iteration."""

    def __init__(self, utterances: Utterances) -> None:
        self._utterances = utterances

    def __iter__(self) -> Iterator[str]:
        return (utterance.text for utterance in self._utterances)


class Index:
    """An index that ``write_index`` has written to ``path``; texts are read in ``case``."""

    def __init__(self, path: Path, folder: ManifestFolder, case: Case = "as-is") -> None:
        content = json.loads((path / "index.json").read_text(encoding="utf-8"))
        self.skipped = [Skipped(*skipped) for skipped in content["skipped"]]
        self.utterances = {
            split: Utterances(
                folder.cuts[split].lines,
                open_numbers(path / f"{split}.rows", np.int64).reshape(-1, _COLUMNS),
                case,
            )
            for split in SPLITS
        }
        self.is_stored: bool = content["stored"]
        """Whether it holds features."""
        self._path = path

    def stored_features(self, utterance: Utterance) -> Tensor:
        """Read the features ``(T, F)`` of ``utterance``."""
        last_frame = utterance.first_frame + utterance.num_frames
        # Copied: PyTorch has no read-only tensors.
        return torch.from_numpy(np.array(self._frames[utterance.first_frame : last_frame]))

    @cached_property
    def _frames(self) -> NDArray[np.float32]:
        return open_numbers(self._path / "features.f32", np.float32).reshape(-1, NUM_BANDS)


def write_index(path: Path, folder: ManifestFolder, stored: bool, report: ProgressCallback) -> None:
    """Decode every utterance of ``folder`` and write its index into ``path``, with features if ``stored``."""
    total = sum(len(folder.cuts[split]) for split in SPLITS)
    with open(path / "features.f32", "wb") as features:
        scan = _Scan(features if stored else None)
        for split in SPLITS:
            with open(path / f"{split}.rows", "wb") as rows:
                for position, cut in enumerate(folder.cuts[split]):
                    rows.write(scan.row(cut, split, position))
                    report("computing features", scan.num_seen, total)
    content = {"skipped": [astuple(skipped) for skipped in scan.skipped], "stored": stored}
    (path / "index.json").write_text(json.dumps(content), encoding="utf-8")


def write_skipped(path: Path, skipped: Iterable[Skipped]) -> Path:
    """List ``skipped`` in a file in the folder ``path`` and return the file's path. Atomic and idempotent."""
    file = path / SKIPPED
    rows = ((one.split, one.id, one.reason) for one in skipped)
    lines = ("\t".join(" ".join(cell.split()) for cell in row) + "\n" for row in rows)
    content = "split\tid\treason\n" + "".join(lines)
    if not file.is_file() or file.read_bytes() != content.encode(errors="backslashreplace"):
        write_whole(file, content)
    return file


class _Scan:
    """The state of a scan over all utterances; features are appended to ``out``."""

    def __init__(self, out: BinaryIO | None) -> None:
        self.skipped: list[Skipped] = []
        self.num_seen = 0
        self._out = out
        self._num_frames = 0

    def row(self, cut: Cut, split: Split, position: int) -> bytes:
        """Encode the utterance's row of the table; empty if it cannot be used."""
        self.num_seen += 1
        try:
            _check_text(cut)
            features = load_features(cut)
            _check_files(cut)
        except (AudioError, Unusable) as error:
            self.skipped.append(Skipped(cut.id, split, shorten(error, 500) + _place(cut)))
            return b""
        first_frame = self._num_frames
        if self._out is not None:
            self._out.write(features.numpy().tobytes())
            self._num_frames += len(features)
        return np.array([position, first_frame, len(features)], np.int64).tobytes()


def _place(cut: Cut) -> str:
    """Say where ``cut`` is listed, if its manifest was made from a listing."""
    custom = cut.supervisions[0].custom if cut.supervisions else None
    return f" ({shorten(custom[LISTED], 1000)})" if custom and LISTED in custom else ""


def _check_files(cut: Cut) -> None:
    """Raise ``AudioError`` if a file of ``cut`` is shorter than its header says."""
    if cut.custom and MEMBER in cut.custom:
        return  # offsets in a tar are checked when they are read
    for source in sources(cut):
        status = os.stat(source.source)
        if problem := _problem(source.source, status.st_size, status.st_mtime_ns):
            raise AudioError(problem)


@lru_cache(maxsize=256)
def _problem(file: str, size: int, time: int) -> str | None:
    """Say what is wrong with a file in its present state. Cached, as segments of a file mostly follow each
    other.
    """
    try:
        read_header(Path(file), None, decode=False)
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
            f"its text must lie within its audio, from 0 s to {cut.duration:g} s, but lies from "
            f"{part.start:g} s to {part.end:g} s instead"
        )
    texts = [supervision.text for supervision in cut.supervisions]
    if not all(text is None or isinstance(text, str) for text in texts):
        raise AudioError(f"its text must be a string, but is {shorten(repr(texts[0]))} instead")
    if found := control_characters("".join(map(normal, texts))):
        raise AudioError(f"its text must have no control characters, but has {first_few(found)}")
    if not any(map(normal, texts)):
        raise AudioError("no text")
