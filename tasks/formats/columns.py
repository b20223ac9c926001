"""Rows with named columns, which tables and JSON have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supernet.task import Split
from tasks.audio.segments import TOLERANCE
from tasks.files.problems import Problem, Unusable, shorten
from tasks.formats.pipes import combine_channels, parse_channel, parse_source
from tasks.listing.entries import Entry, locate_audio, make_id, parse_seconds, split_of

COLUMNS: dict[str, tuple[str, ...]] = {
    "audio": (
        *("audio_filepath", "path", "audio", "wav", "file", "filename", "file_name", "wav_filename"),
        *("file_path", "filepath", "audio_path", "audio_file", "wav_path"),
    ),
    "text": ("text", "transcript", "transcription", "sentence", "normalized_text"),
    "start": ("offset", "start", "start_time", "begin"),
    "duration": ("duration",),
    "end": ("end", "end_time", "stop", "stop_time"),
    "channel": ("channel", "channel_selector"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "split": ("split",),
    "id": ("id", "utt_id"),
}
"""The known columns, and the names that people give them; the first that is present counts."""

_NAME, _TIME = ("a string or a whole number", (int,)), ("a number", (int, float))
_OTHERS: dict[str, tuple[str, tuple[type, ...]]] = {
    **dict.fromkeys(("channel", "speaker", "id"), _NAME),
    **dict.fromkeys(("start", "duration", "end"), _TIME),
}
"""Columns whose values need not be strings, and the types that they may have."""


KNOWN = {name for names in COLUMNS.values() for name in names}
_SPAN = re.compile(
    "(.*[^a-z])?[xt]?(start|begin|beg|onset|offset|from|end|stop|till|until|to|min|max)"
    "(_?(s|secs?|seconds|ms|msecs?|milliseconds|samples?|frames?|time|timestamp|ts|pos|position|offset|at))*"
)
"""Names of columns that may hold the position of an utterance in its recording, in whatever unit ..."""
_MOMENT = re.compile(r"[\d:.,]*\d[\d:.,]*\s*(s|ms|sec)?")
"""... and values that make this likely: numbers and clock times."""


def entry_of(row: Mapping[str, Any], where: str, folder: Path, split: Split | None) -> Entry | Problem:
    """Convert a row to an entry.

    Args:
        row: Values by the names of their columns.
        where: The place of the row, as ``file:line``.
        folder: The folder of the listing.
        split: The split of the listing, which the row may override.
    """
    values = {name: _value(row, names) for name, names in COLUMNS.items()}
    try:
        found = {name: _as_text(name, value) for name, value in values.items()}
        split = _split(found["split"]) or split
        _check_names(row, found["audio"])
        return _entry(found, where, folder, split)
    except Unusable as error:
        audio = values["audio"] if isinstance(values["audio"], str) else ""
        return Problem(split or "train", _id(values, audio) or audio, error.kind, where, str(error))


def _entry(found: Mapping[str, str | None], where: str, folder: Path, split: Split | None) -> Entry:
    start, duration = _span(found)
    audio, text = found["audio"], found["text"]
    id = found["id"] or (make_id(audio, start) if audio else where)
    path, channel = None, None if found["channel"] is None else parse_channel(found["channel"], first=0)
    if audio:
        name, piped = parse_source(audio)
        path, channel = locate_audio(name, folder), combine_channels(channel, piped)
    is_named = bool(found["id"])
    return Entry(
        id, where, path, text, split, start, duration, found["speaker"], channel=channel, is_named=is_named
    )


def _span(found: Mapping[str, str | None]) -> tuple[float, float | None]:
    """Start and duration in seconds; the latter is None for the rest of the audio."""
    try:
        start = parse_seconds(found["start"] or "0")
        duration = None if found["duration"] is None else parse_seconds(found["duration"])
        end = None if found["end"] is None else parse_seconds(found["end"])
    except ValueError:
        raise Unusable("bad line", "offset, duration and end must be numbers") from None
    if end is not None:
        if duration is not None and abs(start + duration - end) > TOLERANCE:
            what = f"the end must be {start:g} s plus {duration:g} s, but is {end:g} s instead"
            raise Unusable("segment", what)
        return start, end - start
    # A missing text or a negative start is reported as such.
    if found["start"] is not None and duration is None and found["text"] and start >= 0:
        what = f"must have a duration or an end, but has only the start {start:g} s"
        raise Unusable("bad line", what)
    return start, duration


def _check_names(row: Mapping[str, Any], audio: str | None) -> None:
    """Raise ``Unusable`` if a time has an unknown name: without it, the whole recording would be used."""
    for name in row if audio else ():
        if name not in KNOWN and _MOMENT.fullmatch(str(row[name])) and _SPAN.fullmatch(_snake(name)):
            what = f"{name!r} must be named start or end, or offset and duration, in seconds"
            raise Unusable("bad line", what)


def _snake(name: str) -> str:
    """Convert ``startTime`` to ``start_time``."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower().strip()


def _split(said: str | None) -> Split | None:
    split = split_of(said) if said else None
    if said and split is None:
        what = f"split must be train, valid or test, but is {shorten(said)!r} instead"
        raise Unusable("bad line", what)
    return split


def _id(values: Mapping[str, Any], audio: str) -> str:
    """The name of an utterance whose row cannot be used, as far as the row tells."""
    if isinstance(values["id"], str):
        return values["id"]
    try:
        return make_id(audio, parse_seconds(str(values["start"] or 0))) if audio else ""
    except ValueError:
        return audio


def _value(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The first value among ``names`` that is present and not empty."""
    values = (row[name] for name in names if row.get(name) is not None)
    values = (value.strip() if isinstance(value, str) else value for value in values)
    return next((value for value in values if value != ""), None)


def _as_text(name: str, value: Any) -> str | None:
    """Convert ``value`` to a string, as in a table. Raises ``Unusable`` if a column cannot have its type."""
    if value is None or isinstance(value, str):
        return value
    kind, types = _OTHERS.get(name, ("a string", ()))
    if type(value) in types:  # not isinstance: true is not 1
        return str(value)
    raise Unusable("bad line", f"{name} must be {kind}, but is {shorten(repr(value))} instead")
