"""Streaming of audio in any format and at any sampling rate that libsndfile reads, in constant memory.

Shapes: S samples, C channels.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import torch
from torch import Tensor

from supernet.audio.resampling import resample_blocks
from supernet.errors import AudioError, NoSuchFile

Audio = str | os.PathLike[str] | np.ndarray[Any, Any] | Tensor
"""A file, or an array of samples (S,) or (S, C)."""

BLOCK_SECONDS = 10
_MAX_VALUES = 1 << 24
"""Maximum size of a block over all channels, whatever rate and channels the header declares."""
_HEAD = 1 << 20
"""Bytes that suffice to recognize audio."""
_UNKNOWN_FORMAT = 1
"""libsndfile's error code for an unrecognized format."""


def complaint(name: str, error: AudioError) -> str:
    """Say in a sentence what is wrong with the recording that the user knows as ``name``."""
    if isinstance(error, NoSuchFile):
        return f"'{name}' must be an audio file, but {error}."
    return f"'{name}' must be readable audio, but is not: {error}."


def extensions() -> set[str]:
    """Extensions of files that libsndfile may be able to read, in lower case and with the dot."""
    names = {name.lower() for name in soundfile.available_formats()} - {"raw"} | {"aif", "oga", "opus"}
    return {f".{name}" for name in names}


def seconds(file: Path) -> float:
    """Duration that the header of ``file`` declares; 0 if it cannot be read, or only once."""
    try:
        return float(soundfile.info(system_name(file)).duration) if file.is_file() else 0.0
    except (OSError, TypeError, ValueError, soundfile.LibsndfileError):
        return 0.0


def read_audio(file: Path | BinaryIO) -> Iterator[Tensor]:
    """Stream a recording in mono at 16 kHz; channels are averaged.

    Args:
        file: A file, a named pipe or an open stream.

    Yields:
        Blocks of samples (S,).

    Raises:
        AudioError: If the recording cannot be read, possibly after some blocks.
    """
    try:
        with _seekable(file) as source, soundfile.SoundFile(source) as sound:
            yield from resample_blocks(_blocks(sound), sound.samplerate)
    except (OSError, soundfile.LibsndfileError) as e:
        raise AudioError(reason(e)) from None


@contextmanager
def _seekable(file: Path | BinaryIO) -> Iterator[bytes | BinaryIO]:
    """Yield a seekable source for libsndfile: the name of a regular file, or a copy of one that can be read
    only once.
    """
    if not isinstance(file, Path):
        with _spooled(file) as copy:
            yield copy
    elif file.suffix.lower() == ".raw":
        raise AudioError("raw samples have no header with their sampling rate; convert them to WAV")
    elif file.is_file():
        yield system_name(file)
    elif file.is_dir():
        raise NoSuchFile("is a folder")
    elif not file.exists():  # or is a dangling link
        raise NoSuchFile("there is no such file")
    else:
        with open(file, "rb") as stream, _spooled(stream) as copy:
            yield copy


def system_name(file: Path) -> bytes:
    """File name for libsndfile, in UTF-8 or not; never ``-``, which it would take for standard input."""
    return os.fsencode(file.absolute())


@contextmanager
def _spooled(stream: BinaryIO) -> Iterator[BinaryIO]:
    """Copy ``stream`` to the disk. If it does not begin like audio, it is not read further: it may be
    endless.
    """
    head = stream.read(_HEAD)
    if not head:
        raise AudioError("it is empty")
    try:
        soundfile.info(io.BytesIO(head))
    except soundfile.LibsndfileError as e:
        if e.code == _UNKNOWN_FORMAT:
            raise
    with tempfile.TemporaryFile() as copy:
        copy.write(head)
        shutil.copyfileobj(stream, copy)
        copy.seek(0)
        yield copy


def reason(error: BaseException) -> str:
    """The message of a reader's exception, without the name of its input."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return str(text).strip().removeprefix("Error : ").rstrip(".")


def _blocks(sound: soundfile.SoundFile) -> Iterator[Tensor]:
    length = max(1, min(sound.samplerate * BLOCK_SECONDS, _MAX_VALUES // sound.channels))
    while len(block := sound.read(length, dtype="float32", always_2d=True)):
        yield mono(block)


def read_any(audio: Audio, rate: int | None) -> Iterator[Tensor]:
    """Blocks (S,) of mono samples at 16 kHz of a file, or of samples at ``rate`` Hz.

    Raises ``AudioError`` as they are read, and ``ValueError`` if the rate cannot be used.
    """
    if isinstance(audio, (str, os.PathLike)):
        return read_audio(Path(audio))
    if rate is None or rate < 1:
        raise ValueError(f"`rate` must be the samples' rate in Hz, but is {rate} instead.")
    return resample_blocks([mono(audio)], rate)


def mono(samples: np.ndarray[Any, Any] | Tensor) -> Tensor:
    """Convert samples (S,) or (S, C) to mono floats (S,) in [-1, 1]; integers are divided by their full
    scale.

    Raises:
        AudioError: If they are not finite numbers of such a shape.
    """
    x = torch.as_tensor(samples).detach().cpu()
    if x.ndim not in (1, 2) or x.is_complex() or x.dtype == torch.bool:
        raise AudioError(
            f"samples must be numbers of the shape (S,) or (S, C), but are {x.dtype} of {tuple(x.shape)}"
        )
    scale = 1.0 if x.is_floating_point() else 1.0 / (torch.iinfo(x.dtype).max + 1)
    x = x.to(torch.float32) * scale
    # The extremes are not finite where any sample is not; a third of the time of `isfinite`.
    if x.numel() and not all(bool(extreme.isfinite()) for extreme in x.aminmax()):
        raise AudioError("its samples must be finite, but some are infinite or not a number")
    return x if x.ndim == 1 else x.mean(dim=1)
