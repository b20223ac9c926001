"""A manifest folder: a Lhotse CutSet per split; paths of audio are relative, so that it can be moved."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import soundfile
from lhotse import AudioSource, CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.cut import Cut
from torch import Tensor

from supernet.batch import SPLITS, Skipped, Split, TaskError
from supernet.features import SAMPLE_RATE
from tasks.audio import sources
from tasks.cache import digest
from tasks.problems import FILE as PROBLEMS
from tasks.problems import left_out

LISTED = "listed"
"""The custom field of a supervision that says where its manifest has it from, as ``file:line``."""

PART = "part"
"""The custom field with the name of an utterance's part of the split, such as test-clean."""


def manifest_path(folder: Path, split: Split) -> Path:
    """Where the CutSet of ``split`` lies."""
    return folder / f"{split}.jsonl.gz"


class ManifestFolder:
    """A folder to read from. Each manifest is read when first asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def cuts(self) -> dict[Split, list[Cut]]:
        """The cuts of each split; their audio's paths include the folder's."""
        return {split: self._load(split) for split in SPLITS}

    @cached_property
    def left_out(self) -> list[Skipped]:
        """What should have been in the manifests, but could not be used."""
        return left_out(self.path)

    @cached_property
    def fingerprint(self) -> str:
        """A name for the content, manifests and audio: with a file replaced it is another."""
        files = [source.source for split in SPLITS for cut in self.cuts[split] for source in sources(cut)]
        manifests = [_sha256(manifest_path(self.path, split)) for split in SPLITS]
        return digest([manifests, [_size_and_time(Path(file)) for file in files]])

    def _load(self, split: Split) -> list[Cut]:
        path = manifest_path(self.path, split)
        if not path.is_file():
            raise TaskError(
                f"`{self.path}` must hold the splits {', '.join(SPLITS)}, but has no {path.name}. "
                "Write each with Lhotse: `CutSet.to_file`."
            )
        try:
            cuts = list(CutSet.from_jsonl_lazy(path).with_recording_path_prefix(self.path.absolute()))
        # JSON, gzip and Lhotse each have their own exceptions for a file that is something else.
        except Exception as error:
            raise TaskError(f"`{path}` must be a Lhotse CutSet, but cannot be read: {error}.") from error
        _check_ids(cuts, path)
        return cuts


def _check_ids(cuts: list[Cut], path: Path) -> None:
    if not cuts:
        raise TaskError(f"`{path}` must hold utterances, but is empty. Every split needs some.{_hint(path)}")
    seen: set[str] = set()
    for cut in cuts:
        if cut.id in seen:
            raise TaskError(f"`{path}` must name every utterance differently, but has {cut.id!r} twice.")
        seen.add(cut.id)


def _hint(path: Path) -> str:
    problems = path.with_name(PROBLEMS)
    return f" What was left out, and why: {problems}." if problems.is_file() else ""


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _size_and_time(file: Path) -> list[int]:
    if not file.is_file():
        return []
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


@dataclass(frozen=True, slots=True)
class Utterance:
    """An utterance to be written."""

    id: str
    text: str
    samples: Tensor
    """Mono, 16 kHz, in [-1, 1]."""
    speaker: str
    about: dict[str, Any]
    """Whatever else is known of it; kept as the supervision's ``custom``."""


def write_split(folder: Path, split: Split, utterances: Iterable[Utterance]) -> None:
    """Write audio and manifest of ``split``."""
    (folder / "audio" / split).mkdir(parents=True)
    cuts = CutSet.from_cuts(_write(folder, split, utterance) for utterance in utterances)
    cuts.to_file(manifest_path(folder, split))


def _write(folder: Path, split: Split, utterance: Utterance) -> MonoCut:
    file = f"audio/{split}/{utterance.id}.flac"
    soundfile.write(folder / file, utterance.samples.numpy(), SAMPLE_RATE, subtype="PCM_16")
    num_samples = len(utterance.samples)
    seconds = num_samples / SAMPLE_RATE
    source = AudioSource(type="file", channels=[0], source=file)
    supervision = SupervisionSegment(
        utterance.id,
        utterance.id,
        start=0,
        duration=seconds,
        text=utterance.text,
        language="en",
        speaker=utterance.speaker,
        custom=utterance.about,
    )
    recording = Recording(utterance.id, [source], SAMPLE_RATE, num_samples, seconds)
    return MonoCut(
        utterance.id, start=0, duration=seconds, channel=0, supervisions=[supervision], recording=recording
    )
