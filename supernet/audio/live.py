"""Audio as it arrives: from a pipe or a microphone.

Shapes: S samples, C channels.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from supernet.audio.recordings import mono, read_audio
from supernet.audio.resampling import resample_blocks
from supernet.audio.specification import SAMPLE_RATE
from supernet.errors import ArgumentError, AudioError

_HEAD = 22
"""Bytes of a WAV file up to its encoding."""
_PCM = b"\x01\x00"


def read_pipe(stream: io.BufferedReader[Any], seconds: float) -> Iterator[Tensor]:
    """Read mono samples at 16 kHz from a pipe, in blocks of ``seconds``.

    Uncompressed WAV (as ``arecord``, ``sox`` and ``ffmpeg`` write) is read as it arrives; any other format
    only once it has ended.

    Raises:
        AudioError: The pipe has no audio.
    """
    head = stream.peek(_HEAD)[:_HEAD]
    if head[:4] == b"RIFF" and head[8:16] == b"WAVEfmt " and head[20:22] == _PCM:
        return _read_wave(stream, seconds)
    return read_audio(stream)


def _read_wave(stream: io.BufferedReader[Any], seconds: float) -> Iterator[Tensor]:
    try:
        with wave.open(stream) as sound:
            yield from resample_blocks(_wave_blocks(sound, seconds), sound.getframerate())
    except (wave.Error, EOFError) as e:
        raise AudioError(str(e) or "it ends within its header") from None


def _wave_blocks(sound: wave.Wave_read, seconds: float) -> Iterator[Tensor]:
    width, channels = sound.getsampwidth(), sound.getnchannels()
    while data := sound.readframes(max(1, round(seconds * sound.getframerate()))):
        whole = len(data) // (width * channels) * width * channels
        yield mono(_integers(data[:whole], width).reshape(-1, channels))


def _integers(data: bytes, width: int) -> np.ndarray[Any, Any]:
    """Little-endian integers of ``width`` bytes; those of one byte are unsigned."""
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.int16) - 128).astype(np.int8)
    if width == 3:
        bytes_N3 = np.frombuffer(data, np.uint8).reshape(-1, 3)
        padded_N4 = np.concatenate([np.zeros((len(bytes_N3), 1), np.uint8), bytes_N3], axis=1)
        return padded_N4.reshape(-1).view("<i4")
    return np.frombuffer(data, f"<i{width}").copy()  # PyTorch warns of arrays that cannot be written


def listen(seconds: float) -> Iterator[Tensor]:
    """Read mono samples at 16 kHz from the default microphone, in blocks of ``seconds``, until interrupted.

    Raises:
        ArgumentError: There is no microphone, or no package to read it.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as e:  # without the package, or without its library
        raise ArgumentError(
            ["recording"],
            f"`RECORDING` microphone must find the package sounddevice, but does not ({e}). Install: "
            "pip install -e '.[microphone]'",
        ) from None
    try:
        with sounddevice.InputStream(SAMPLE_RATE, channels=1, dtype="float32") as stream:
            while True:
                samples, _ = stream.read(round(seconds * SAMPLE_RATE))
                yield torch.from_numpy(samples[:, 0].copy())
    except sounddevice.PortAudioError as e:
        raise AudioError(f"no microphone can be opened: {e}") from None
