"""Samples and features of Lhotse cuts. Audio is decoded by libsndfile through the soundfile package.

Shapes: S samples, T frames, F values per frame.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock
from typing import Any

import torch
from lhotse import AudioSource
from lhotse.audio.backend import (
    AudioBackend,
    LibsndfileBackend,
    get_current_audio_backend,
    set_current_audio_backend,
)
from lhotse.cut import Cut
from lhotse.cut.data import DataCut
from lhotse.utils import fastcopy
from torch import Tensor

from supernet.audio.features import LOG_MEL, Input, is_silent
from supernet.audio.recordings import reason
from supernet.audio.resampling import resample
from supernet.audio.specification import WINDOW
from supernet.errors import AudioError
from tasks.files.members import MEMBER, Member, read_member
from tasks.files.problems import Unusable


def load_samples(cut: Cut, speed: float = 1.0) -> Tensor:
    """Load mono samples ``(S,)`` at 16 kHz, channels averaged, sped up by the factor ``speed``.

    Raises:
        AudioError: If the audio is missing, cannot be decoded, or may not be opened.
    """
    _refuse_strange_sources(cut)
    _refuse_missing_files(cut)
    cut = _from_tar(cut)
    with _libsndfile:
        try:
            decoded = cut.load_audio()
        # Lhotse, libsndfile and the file system each have their own exceptions for a broken file.
        except Exception as error:
            raise AudioError(f"cannot be decoded: {_first_line(error)}") from error
    return resample(torch.from_numpy(decoded).float().mean(dim=0), cut.sampling_rate * speed)


def load_features(
    cut: Cut,
    speed: float = 1.0,
    room: Callable[[Tensor], Tensor] | None = None,
    input: Input = LOG_MEL,
) -> Tensor:
    """Load the input features ``(T, F)`` of a cut.

    Args:
        cut: A cut of a recording.
        speed: Factor by which it is sped up.
        room: Adds echo and noise to the samples (S,).
        input: The representation to compute.

    Raises:
        AudioError: If there is nothing to recognize, or as ``load_samples``.
    """
    samples = load_samples(cut, speed)
    if len(samples) < WINDOW:
        raise AudioError(f"too short: {len(samples)} samples")
    if not bool(samples.isfinite().all()):
        raise AudioError("not finite: some samples are infinite or not a number")
    if is_silent(samples):
        raise AudioError("silent")
    features = input.of(samples if room is None else room(samples))
    if not bool(features.isfinite().all()):
        loudest = float(samples.abs().max())
        raise AudioError(f"not finite: features of samples up to {loudest:.3g}, where 1 is full scale")
    return features


def sources(cut: Cut) -> list[Any]:
    """The audio sources of ``cut``; empty if it is not a plain cut of a recording."""
    if not isinstance(cut, DataCut) or cut.recording is None:
        return []
    return list(cut.recording.sources)


def _refuse_strange_sources(cut: Cut) -> None:
    """Accept files only: a manifest is untrusted, and Lhotse would run shell commands and open URLs."""
    kinds = {source.type for source in sources(cut)}
    if kinds != {"file"}:
        is_plain = isinstance(cut, DataCut)
        found = " and ".join(sorted(kinds)) or ("missing" if is_plain else f"a {type(cut).__name__}")
        raise AudioError(f"its audio must be a file, but is {found} instead")
    if cut.start < 0:
        raise AudioError(f"its start must not be negative, but is {cut.start:g} s")


def _refuse_missing_files(cut: Cut) -> None:
    for source in sources(cut):
        if not os.path.isfile(source.source):
            raise AudioError(f"no such file: '{source.source}'")


def _from_tar(cut: Cut) -> Cut:
    """Replace the source of a cut whose audio is a member of a tar by the member's bytes."""
    if not cut.custom or MEMBER not in cut.custom:
        return cut
    try:
        (source,) = sources(cut)
        with open(source.source, "rb") as file:
            content = read_member(file, _member(cut.custom[MEMBER]))
    except (OSError, ValueError) as error:
        raise AudioError(f"cannot be read: {_first_line(error)}") from error
    recording = fastcopy(cut.recording, sources=[AudioSource("memory", source.channels, content)])
    found: Cut = fastcopy(cut, recording=recording)
    return found


def _member(place: Any) -> Member:
    """Parse a member from the custom field of an untrusted manifest."""
    try:
        member = Member(**place)
    except TypeError:
        member = None
    if member is None or not (type(member.offset) is int and type(member.size) is int):
        what = f"`{MEMBER}` must be name, offset, size and header, but is {place!r} instead"
        raise Unusable("bad line", what)
    return member


class _Libsndfile:
    """Context manager that makes libsndfile Lhotse's decoder, which is global to the process, while any
    thread is inside.
    """

    def __init__(self) -> None:
        self._lock, self._num_inside = Lock(), 0
        self._before: AudioBackend | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._num_inside == 0:
                self._before = get_current_audio_backend()
                set_current_audio_backend(LibsndfileBackend())
            self._num_inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._num_inside -= 1
            if self._num_inside == 0:
                set_current_audio_backend(self._before)


_libsndfile = _Libsndfile()


def _first_line(error: BaseException) -> str:
    """The first line of the root cause's message; Lhotse wraps its readers' exceptions in others."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    if isinstance(error, FileNotFoundError):
        return f"no such file: '{error.filename}'"
    lines = reason(error).splitlines()
    if lines and lines[0].startswith("The number of declared samples"):
        return "its length is not what its header or manifest says"
    return lines[0][:200] if lines else type(error).__name__
