"""Speech synthesis with eSpeak NG in a separate process.

The synthesizer keeps state from one utterance to the next (noise, echo, flutter), so repeating a sentence
does not repeat its audio. A fresh process that speaks a fixed list in order is reproducible. It also keeps
the library, which is licensed under the GPL, separate.

This file is also the program of that process: run as a script, it needs only the standard library.
"""

from __future__ import annotations

import ctypes
import json
import struct
import subprocess
import sys
from collections.abc import Generator, Iterable
from dataclasses import asdict, dataclass
from typing import Any

# From espeak-ng/speak_lib.h.
_SYNCHRONOUS = 2
_RATE, _PITCH = 1, 3
_UTF8 = 1
_BUFFER_MS = 4000

_HEADER = struct.Struct("<i")
_READY = b"ready"


class SpeechError(RuntimeError):
    """eSpeak NG is missing or has failed."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text to speak, and how."""

    text: str
    voice: str
    """Language and variant, such as ``en-us+f2``."""
    words_per_minute: int
    pitch: int
    """Pitch from 0 to 99; 50 is the voice's default."""


def speak(prompts: Iterable[Prompt]) -> Generator[tuple[int, bytes], None, None]:
    """Yield the sampling rate and the 16-bit mono samples of each prompt, the same for the same prompts.

    Raises:
        SpeechError: If eSpeak NG is missing or fails.
    """
    process = _start()
    try:
        for prompt in prompts:
            yield _ask(process, prompt)
    finally:
        process.kill()
        process.communicate()


def _start() -> subprocess.Popen[bytes]:
    try:
        import espeakng_loader

        paths = [espeakng_loader.get_library_path(), espeakng_loader.get_data_path()]
    except (ImportError, RuntimeError) as error:
        raise SpeechError(
            f"eSpeak NG must be installed, but: {error}. Run `pip install espeakng-loader`."
        ) from error
    # Isolated, and without site packages: nothing of the caller's environment reaches the synthesizer.
    command = [sys.executable, "-I", "-S", __file__, *paths]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    if process.stdout.read(len(_READY)) != _READY:
        raise SpeechError(_failure(process))
    return process


def _ask(process: subprocess.Popen[bytes], prompt: Prompt) -> tuple[int, bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(asdict(prompt)).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        raise SpeechError(_failure(process)) from None
    rate, size = (_read_int(process), _read_int(process))
    samples = process.stdout.read(size)
    if len(samples) != size:
        raise SpeechError(_failure(process))
    return rate, samples


def _read_int(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    header = process.stdout.read(_HEADER.size)
    if len(header) != _HEADER.size:
        raise SpeechError(_failure(process))
    return int(_HEADER.unpack(header)[0])


def _failure(process: subprocess.Popen[bytes]) -> str:
    _, said = process.communicate()
    lines = said.decode(errors="replace").strip().splitlines()
    why = lines[-1] if lines else f"it ended with code {process.returncode}"
    return f"eSpeak NG cannot speak: {why}. Reinstall it: `pip install --force-reinstall espeakng-loader`."


class _Synthesizer:
    """The library, loaded into the process that owns it."""

    def __init__(self, library: str, data: str) -> None:
        self._lib = ctypes.CDLL(library)
        self.rate: int = self._lib.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, data.encode(), 0)
        if self.rate <= 0:
            raise OSError(f"{data} must be the data of eSpeak NG, but cannot be read")
        # By default, the noise is seeded by the clock.
        self._lib.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._samples = bytearray()
        prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
        self._callback = prototype(self._receive)  # kept alive while the library calls it
        self._lib.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: int | None, count: int, events: int | None) -> int:
        if samples and count > 0:
            self._samples += ctypes.string_at(samples, 2 * count)
        return 0

    def say(self, text: str, voice: str, words_per_minute: int, pitch: int) -> bytes:
        self._samples.clear()
        self._check(self._lib.espeak_SetVoiceByName(voice.encode()), f"voice {voice!r}")
        self._check(self._lib.espeak_SetParameter(_RATE, words_per_minute, 0), "rate")
        self._check(self._lib.espeak_SetParameter(_PITCH, pitch, 0), "pitch")
        encoded = text.encode() + b"\0"
        status = self._lib.espeak_Synth(encoded, ctypes.c_size_t(len(encoded)), 0, 1, 0, _UTF8, None, None)
        self._check(status, f"text {text!r}")
        return bytes(self._samples)

    def _check(self, status: int, what: str) -> None:
        if status != 0:
            raise OSError(f"{what} was refused with status {status}")


def _serve(library: str, data: str) -> None:
    synthesizer = _Synthesizer(library, data)
    out: Any = sys.stdout.buffer
    out.write(_READY)
    out.flush()
    for request in sys.stdin:
        samples = synthesizer.say(**json.loads(request))
        out.write(_HEADER.pack(synthesizer.rate) + _HEADER.pack(len(samples)) + samples)
        out.flush()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
