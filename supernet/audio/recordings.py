"""Audio of any rate and any container that libsndfile reads, as a stream: what is held does not grow with
the recording.

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

BLOCK_SECONDS = 10
_MOST_VALUES = 1 << 24
"""Of a block over all channels, whatever the header says of rate and channels."""
_HEAD = 1 << 20
"""Bytes that must be enough to tell audio from something else."""
_UNKNOWN_FORMAT = 1
"""libsndfile's number for a beginning that is none of its formats'."""


def complaint(name: str, error: AudioError) -> str:
    """What is wrong with the recording that the user knows as ``name``, in a sentence."""
    if isinstance(error, NoSuchFile):
        return f"'{name}' must be an audio file, but {error}."
    return f"'{name}' must be readable audio, but is not: {error}."


def extensions() -> set[str]:
    """Of files that libsndfile may be able to read, in lower case with the dot."""
    names = {name.lower() for name in soundfile.available_formats()} - {"raw"} | {"aif", "oga", "opus"}
    return {f".{name}" for name in names}


def seconds(file: Path) -> float:
    """How long ``file`` says it is; 0 where it cannot be read, or only once."""
    try:
        return float(soundfile.info(system_name(file)).duration) if file.is_file() else 0.0
    except (OSError, TypeError, ValueError, soundfile.LibsndfileError):
        return 0.0


def read_audio(file: Path | BinaryIO) -> Iterator[Tensor]:
    """Blocks (S,) of a recording in mono at 16 kHz; channels are averaged.

    A file may be a pipe or an open stream, too. Raises ``AudioError``, also in the middle.
    """
    try:
        with _seekable(file) as source, soundfile.SoundFile(source) as sound:
            yield from resample_blocks(_blocks(sound), sound.samplerate)
    except (OSError, soundfile.LibsndfileError) as e:
        raise AudioError(reason(e)) from None


@contextmanager
def _seekable(file: Path | BinaryIO) -> Iterator[bytes | BinaryIO]:
    """What libsndfile can go back and forth in: the name of an ordinary file, or a copy of what can be read
    only once.
    """
    if not isinstance(file, Path):
        with _spooled(file) as copy:
            yield copy
    elif file.suffix.lower() == ".raw":
        raise AudioError("samples without a header do not tell their rate; write them as WAV")
    elif file.is_file():
        yield system_name(file)
    elif file.is_dir():
        raise NoSuchFile("is a folder")
    elif not file.exists():  # a dead link is none, either
        raise NoSuchFile("there is no such file")
    else:
        with open(file, "rb") as stream, _spooled(stream) as copy:
            yield copy


def system_name(file: Path) -> bytes:
    """What libsndfile is to open, UTF-8 or not; never ``-``, which it takes for standard input."""
    return os.fsencode(file.absolute())


@contextmanager
def _spooled(stream: BinaryIO) -> Iterator[BinaryIO]:
    """A copy of ``stream`` on the disk. One that does not begin like audio is not read to its end, which it
    may not have.
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
    """What a reader's exception says, without the name of what it was given."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return str(text).strip().removeprefix("Error : ").rstrip(".")


def _blocks(sound: soundfile.SoundFile) -> Iterator[Tensor]:
    length = max(1, min(sound.samplerate * BLOCK_SECONDS, _MOST_VALUES // sound.channels))
    while len(block := sound.read(length, dtype="float32", always_2d=True)):
        yield mono(block)


def mono(samples: np.ndarray[Any, Any] | Tensor) -> Tensor:
    """Samples (S,) or (S, C) as floats in [-1, 1], (S,); integers are divided by their full scale."""
    x = torch.as_tensor(samples).detach().cpu()
    if x.ndim not in (1, 2) or x.is_complex() or x.dtype == torch.bool:
        raise AudioError(
            f"samples must be numbers of the shape (S,) or (S, C), but are {x.dtype} of {tuple(x.shape)}"
        )
    scale = 1.0 if x.is_floating_point() else 1.0 / (torch.iinfo(x.dtype).max + 1)
    x = x.to(torch.float32) * scale
    if not bool(x.isfinite().all()):
        raise AudioError("its samples must be finite, but some are infinite or not a number")
    return x if x.ndim == 1 else x.mean(dim=1)
