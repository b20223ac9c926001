"""Room acoustics: echo and noise added to speech, from folders of recordings.

The room of an utterance is drawn before any audio is read, so it depends on the random generator alone.

Shapes: S samples, C channels.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch
import torchaudio.functional as F
from pydantic import Field, field_validator
from torch import Tensor

from supernet.audio.features import is_silent
from supernet.audio.recordings import extensions, reason, system_name
from supernet.audio.resampling import resample
from supernet.audio.specification import SAMPLE_RATE
from supernet.config import Section
from supernet.errors import AudioError
from supernet.system.files import refusal
from supernet.task import TaskError
from tasks.files.problems import first_few

_SUFFIXES = extensions() | {".sph"}


class Reverb(Section):
    """Reverberation with room impulse responses (Ko et al., 2017)."""

    folder: Path
    """Folder of impulse responses, in subfolders of any depth."""
    probability: float = Field(default=0.5, ge=0, le=1)
    """Share of the utterances."""


class Noise(Section):
    """Background noise."""

    folder: Path
    """Folder of noise recordings, in subfolders of any depth."""
    probability: float = Field(default=0.5, ge=0, le=1)
    """Share of the utterances."""
    snr: tuple[float, float] = (0.0, 20.0)
    """Signal-to-noise ratio in dB: minimum, maximum."""

    @field_validator("snr")
    @classmethod
    def _check_snr(cls, snr: tuple[float, float]) -> tuple[float, float]:
        if not -100 <= snr[0] <= snr[1] <= 100:
            raise ValueError(f"`snr` must be two ascending levels in dB, but is {list(snr)} instead")
        return snr


class EvalReverb(Reverb):
    """Reverberation of a test condition."""

    probability: float = Field(default=1.0, ge=0, le=1)
    """Share of the utterances."""


class EvalNoise(Noise):
    """Noise of a test condition."""

    probability: float = Field(default=1.0, ge=0, le=1)
    """Share of the utterances."""


@dataclass(frozen=True, slots=True)
class Room:
    """Acoustics of one utterance: echo is added first, then noise."""

    echo: Path | None
    """An impulse response."""
    noise: Path | None
    snr: float
    """Signal-to-noise ratio in dB."""
    start: float
    """Start of the noise segment, as a share of the possible starts."""

    def __call__(self, samples: Tensor) -> Tensor:
        """Add echo and noise to ``samples`` (S,). Raises ``TaskError`` if a file is broken."""
        if self.echo is not None:
            response, _ = _read(self.echo)
            samples = reverberate(samples, response[0])
        if self.noise is None:
            return samples
        noise = segment(self.noise, len(samples), self.start)
        if is_silent(noise):
            return samples
        noisy: Tensor = F.add_noise(samples, noise, torch.tensor(self.snr))
        return noisy


class Acoustics:
    """A distribution over rooms.

    Args:
        reverb: Options of the echo; None for no echo.
        noise: Options of the noise; None for no noise.
        prefix: Prefix of the options' names in messages.

    Raises:
        TaskError: If a folder cannot be used.
    """

    def __init__(self, reverb: Reverb | None, noise: Noise | None, prefix: str = "") -> None:
        self._reverb, self._noise = reverb, noise
        self._echoes = [] if reverb is None else find_audio(reverb.folder, f"{prefix}reverb")
        self._noises = [] if noise is None else find_audio(noise.folder, f"{prefix}noise")

    def draw(self, rng: random.Random) -> Room | None:
        """Draw the room of the next utterance; None to leave it unchanged."""
        echo = noise = None
        low, high = 0.0, 0.0
        if self._reverb is not None and rng.random() < self._reverb.probability:
            echo = rng.choice(self._echoes)
        if self._noise is not None and rng.random() < self._noise.probability:
            noise, (low, high) = rng.choice(self._noises), self._noise.snr
        if echo is None and noise is None:
            return None
        return Room(echo, noise, rng.uniform(low, high), rng.random())


def reverberate(samples: Tensor, response: Tensor) -> Tensor:
    """Convolve ``samples`` (S,) with an impulse response, keeping their timing and energy."""
    direct = int(response.abs().argmax())
    wet: Tensor = F.fftconvolve(samples, response)[direct : direct + len(samples)]
    gain: Tensor = samples.norm() / wet.norm().clamp(min=1e-10)
    return wet * gain


def segment(path: Path, length: int, start: float) -> Tensor:
    """Read ``length`` samples of a recording at 16 kHz; short recordings are repeated.

    Args:
        path: The recording.
        length: The number of samples.
        start: Where to start, as a share of the possible starts.
    """
    channels, rest = _read(path, start, length / SAMPLE_RATE)
    noise = channels.mean(dim=0)
    if rest:
        return torch.nn.functional.pad(noise, (0, max(0, length - len(noise))))[:length]
    offset = int(start * len(noise))
    return noise.repeat(2 + length // len(noise))[offset : offset + length]


def _read(path: Path, start: float = 0.0, seconds: float | None = None) -> tuple[Tensor, bool]:
    """Read all channels (C, S) at 16 kHz; also return whether the recording is longer than ``seconds``."""
    try:
        with soundfile.SoundFile(system_name(path)) as file:
            wanted = file.frames if seconds is None else 1 + int(seconds * file.samplerate)
            rest = max(0, file.frames - wanted)
            if rest:
                file.seek(int(start * rest))
            samples, rate = file.read(wanted, dtype="float32", always_2d=True).T, file.samplerate
    except (soundfile.LibsndfileError, OSError) as error:
        raise TaskError(
            f"'{path}' must be readable audio, but is not: {reason(error)}. Repair or remove it."
        ) from None
    found = torch.from_numpy(samples)
    if found.numel() == 0 or not bool(found.isfinite().all()):
        raise TaskError(f"'{path}' must hold finite samples, but does not. Repair or remove it.")
    try:
        return resample(found, rate), rest > 0
    except AudioError as error:
        raise TaskError(f"'{path}' cannot be used: {error}. Convert or remove it.") from None


def find_audio(folder: Path, option: str) -> list[Path]:
    """Find every recording below ``folder``, sorted. Raises ``TaskError`` if there are none or some are
    broken.
    """
    if why := refusal(folder, "folder"):
        raise TaskError(f"`task.{option}.folder` must be a folder, but {why}.")
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())
    if not files:
        raise TaskError(f"`task.{option}.folder` must hold recordings, but '{folder}' has none.")
    if broken := list(_broken(files)):
        raise TaskError(
            f"`task.{option}.folder` must hold readable recordings, but {len(broken)} of {len(files)} in "
            f"'{folder}' are not: {first_few([file.relative_to(folder) for file in broken])}. Remove them."
        )
    return files


def _broken(files: list[Path]) -> Iterator[Path]:
    """Yield the files whose headers cannot be read or announce no samples."""
    for file in files:
        try:
            if soundfile.info(system_name(file)).frames > 0:
                continue
        except (soundfile.LibsndfileError, OSError):
            pass
        yield file
