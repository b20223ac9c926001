"""Audio as it arrives: from a pipe or a microphone.

Shapes: S samples, C channels.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Iterator
from types import ModuleType
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


def listen(seconds: float, on_loss: Callable[[], object]) -> Iterator[Tensor]:
    """Read mono samples at 16 kHz from the default microphone, in blocks of ``seconds``, until interrupted.

    A microphone that does not offer 16 kHz is read at its own rate. ``on_loss`` is called once if samples are
    lost, because they come faster than they are taken.

    Raises:
        ArgumentError: There is no microphone, or no package to read it.
        AudioError: The microphone stops, as when it is unplugged.
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
        rate = _microphone_rate(sounddevice)
        opened = sounddevice.InputStream(rate, channels=1, dtype="float32")
    except sounddevice.PortAudioError as e:
        raise ArgumentError(
            ["recording"],
            f"`RECORDING` microphone must find a microphone, but does not ({e}). Known devices: python -m "
            "sounddevice",
        ) from None
    try:
        with opened as stream:
            yield from resample_blocks(_microphone_blocks(stream, round(seconds * rate), on_loss), rate)
    except sounddevice.PortAudioError as e:
        raise AudioError(f"the microphone has stopped: {e}") from None


def _microphone_rate(sounddevice: ModuleType) -> float:
    try:
        sounddevice.check_input_settings(channels=1, dtype="float32", samplerate=SAMPLE_RATE)
    except sounddevice.PortAudioError:
        own: float = sounddevice.query_devices(kind="input")["default_samplerate"]
        return own
    return SAMPLE_RATE


def _microphone_blocks(stream: Any, size: int, on_loss: Callable[[], object]) -> Iterator[Tensor]:
    complete = True
    while True:
        samples, lost = stream.read(size)
        if lost and complete:
            on_loss()
            complete = False
        yield torch.from_numpy(samples[:, 0].copy())
