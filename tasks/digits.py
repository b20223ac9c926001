"""Connected digits of real speakers, joined from single ones: the Free Spoken Digit Dataset."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import soundfile
import torch
from pydantic import Field
from torch import Tensor

from supernet.audio.recordings import reason, system_name
from supernet.audio.resampling import resample
from supernet.audio.specification import SAMPLE_RATE
from supernet.system.files import refusal
from supernet.task import SPLITS, ProgressCallback, Split, TaskError
from tasks.corpus import CorpusTask
from tasks.files.cache import digest, file_hash, make_once
from tasks.options import CorpusOptions
from tasks.reading.vocabulary import TokenKind
from tasks.store.manifest_folder import Clip, write_split

VERSION = 2
"""Raise it when the same options and recordings yield another corpus."""

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<take>\d+)\.wav")
_FEWEST, _MOST = 3, 6
"""Number of digits in an utterance."""


class DigitsOptions(CorpusOptions):
    """Options of connected digits."""

    path: Path
    """Folder of files {digit}_{speaker}_{take}.wav, or the folder that contains `recordings`."""
    num_train: int = Field(default=3000, ge=1)
    """Number of training utterances."""
    seed: int = Field(default=0, ge=0)
    """Seed that determines how recordings are joined."""
    tokens: TokenKind = "words"
    """Output tokens: characters, words, subword units learned from the training texts (unigram or bpe), or
    the path of a tokens.txt or SentencePiece .model.
    """
    batch_seconds: float = Field(default=50.0, gt=0)
    """Seconds of speech per training batch and rank."""


@dataclass(frozen=True, slots=True)
class Take:
    """One recording of one digit."""

    path: Path
    digit: int
    speaker: str
    take: int

    @property
    def split(self) -> Split:
        """The split: takes 0 to 4 are for testing, 5 to 9 for validation."""
        if self.take < 5:
            return "test"
        return "valid" if self.take < 10 else "train"


class Digits(CorpusTask):
    """Utterances of 3 to 6 digits by one speaker. Test and validation use each recording exactly once."""

    name = "digits"
    Options = DigitsOptions
    options: DigitsOptions

    @property
    def path(self) -> Path:
        return self.cache / f"{self.name}-{self._digest}"

    def make(self, report: ProgressCallback) -> None:
        make_once(self.path, lambda folder: _make(folder, self._takes, self.options, report), report)

    @cached_property
    def _takes(self) -> list[Take]:
        return find_takes(self.options.path)

    @cached_property
    def _digest(self) -> str:
        shape = self.options.model_dump(include={"num_train", "seed"})
        return digest([VERSION, shape, [(take.path.name, file_hash(take.path)) for take in self._takes]])


def find_takes(path: Path) -> list[Take]:
    """Find the recordings in ``path`` or its subfolder ``recordings``, sorted. Raises ``TaskError``."""
    if why := refusal(path, "folder"):
        raise TaskError(f"`path` must be a folder of recordings, but {why}.")
    folder = path / "recordings" if (path / "recordings").is_dir() else path
    names = [(file, _NAME.fullmatch(file.name)) for file in sorted(folder.glob("*.wav"))]
    takes = [
        Take(file, int(name["digit"]), name["speaker"], int(name["take"])) for file, name in names if name
    ]
    if not takes:
        raise TaskError(
            f"`path` must hold recordings named {{digit}}_{{speaker}}_{{take}}.wav, "
            f"but {str(folder)!r} has none instead. "
            "Download them from github.com/Jakobovski/free-spoken-digit-dataset."
        )
    if missing := [split for split in SPLITS if split not in {take.split for take in takes}]:
        raise TaskError(
            f"`path` must hold takes 0 to 4, 5 to 9 and later ones, but {str(folder)!r} has none "
            f"for {' and '.join(missing)} instead. Download the whole dataset."
        )
    return takes


def _make(folder: Path, takes: list[Take], options: DigitsOptions, report: ProgressCallback) -> None:
    plans = {split: _plan(takes, split, options) for split in SPLITS}
    total = sum(len(plan) for plan in plans.values())
    done = 0
    decode = cache(_decode)

    def counted(split: Split) -> Iterator[Clip]:
        nonlocal done
        for number, parts in enumerate(plans[split]):
            yield _join(
                f"{split}-{number:05d}", parts, decode, random.Random(f"{options.seed}/{split}/{number}")
            )
            done += 1
            report("joining digits", done, total)

    for split in SPLITS:
        write_split(folder, split, counted(split))


def _plan(takes: list[Take], split: Split, options: DigitsOptions) -> list[list[Take]]:
    """Choose the recordings of each utterance of ``split``."""
    rng = random.Random(f"{options.seed}/{split}")
    mine = [take for take in takes if take.split == split]
    by_speaker = {speaker: [take for take in mine if take.speaker == speaker] for speaker in speakers(mine)}
    if split == "train":
        chosen = (by_speaker[rng.choice(list(by_speaker))] for _ in range(options.num_train))
        return [rng.choices(of_one, k=rng.randint(_FEWEST, _MOST)) for of_one in chosen]
    return [parts for of_one in by_speaker.values() for parts in partition(of_one, rng)]


def speakers(takes: Sequence[Take]) -> list[str]:
    """The speakers of ``takes``, sorted."""
    return sorted({take.speaker for take in takes})


def partition(takes: Sequence[Take], rng: random.Random) -> list[list[Take]]:
    """Partition shuffled ``takes`` into groups of 3 to 6. Raises ``TaskError`` if there are too few."""
    if len(takes) < _FEWEST:
        raise TaskError(
            f"`path` must hold at least {_FEWEST} {takes[0].split} recordings of {takes[0].speaker!r}, "
            f"but has {len(takes)} instead. Add more, or remove the speaker."
        )
    left = rng.sample(takes, len(takes))
    groups = []
    while left:
        sizes = [n for n in range(_FEWEST, _MOST + 1) if n == len(left) or n <= len(left) - _FEWEST]
        size = rng.choice(sizes)
        groups.append(left[:size])
        left = left[size:]
    return groups


def _join(id: str, parts: list[Take], decode: Callable[[Path], Tensor], rng: random.Random) -> Clip:
    """Concatenate recordings, with a slightly noisy pause before, between and after them."""
    spoken = [decode(take.path) for take in parts]
    loudness = float(torch.cat(spoken).square().mean().sqrt())
    noise = torch.Generator().manual_seed(rng.getrandbits(63))
    level = loudness * 10 ** (-rng.uniform(30, 40) / 20)

    def pause() -> Tensor:
        return level * torch.randn(int(rng.uniform(0.05, 0.2) * SAMPLE_RATE), generator=noise)

    pieces = [pause()]
    for samples in spoken:
        pieces += [samples, pause()]
    return Clip(
        id=id,
        text=" ".join(WORDS[take.digit] for take in parts),
        samples=torch.cat(pieces).clamp(-1, 1),
        speaker=parts[0].speaker,
        about={"recordings": [take.path.stem for take in parts]},
    )


def _decode(path: Path) -> Tensor:
    try:
        samples, rate = soundfile.read(system_name(path), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise TaskError(
            f"`{path}` must be a recording, but cannot be decoded: {reason(error)}. Download it again."
        ) from error
    return resample(torch.from_numpy(samples).mean(dim=1), rate)
