"""Utterances as rows with named columns, which tables and JSON have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supernet.task import Split
from tasks.audio.segments import TOLERANCE
from tasks.files.problems import Problem, Unusable, short
from tasks.forms.commands import channel_of, file_of, one_channel
from tasks.listing.entries import Entry, id_of, locate, seconds, split_of

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
"""What a row may tell, and the names that people give it; the first that is there counts."""

_NAME, _TIME = ("a text or a whole number", (int,)), ("a number", (int, float))
_OTHERS: dict[str, tuple[str, tuple[type, ...]]] = {
    **dict.fromkeys(("channel", "speaker", "id"), _NAME),
    **dict.fromkeys(("start", "duration", "end"), _TIME),
}
"""Columns that need not be texts, and what they may be."""


KNOWN = {name for names in COLUMNS.values() for name in names}
_SPAN = re.compile(
    "(.*[^a-z])?[xt]?(start|begin|beg|onset|offset|from|end|stop|till|until|to|min|max)"
    "(_?(s|secs?|seconds|ms|msecs?|milliseconds|samples?|frames?|time|timestamp|ts|pos|position|offset|at))*"
)
"""Names of columns that may tell where in its recording an utterance lies, in whatever unit, ..."""
_MOMENT = re.compile(r"[\d:.,]*\d[\d:.,]*\s*(s|ms|sec)?")
"""... and values that make it likely: numbers and clock times."""


def entry(row: Mapping[str, Any], where: str, folder: Path, split: Split | None) -> Entry | Problem:
    """The utterance that ``row`` of a listing in ``folder`` tells of."""
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
    id = found["id"] or (id_of(audio, start) if audio else where)
    path, channel = None, None if found["channel"] is None else channel_of(found["channel"], first=0)
    if audio:
        name, own = file_of(audio)
        path, channel = locate(name, folder), one_channel(channel, own)
    is_named = bool(found["id"])
    return Entry(
        id, where, path, text, split, start, duration, found["speaker"], channel=channel, is_named=is_named
    )


def _span(found: Mapping[str, str | None]) -> tuple[float, float | None]:
    """Start and duration; None for the latter where the whole audio is meant."""
    try:
        start = seconds(found["start"] or "0")
        duration = None if found["duration"] is None else seconds(found["duration"])
        end = None if found["end"] is None else seconds(found["end"])
    except ValueError:
        raise Unusable("bad line", "offset, duration and end must be numbers") from None
    if end is not None:
        if duration is not None and abs(start + duration - end) > TOLERANCE:
            what = f"{start:g} s and the duration {duration:g} s must give the end, but it is {end:g} s"
            raise Unusable("segment", what)
        return start, end - start
    # Without text, or before the audio begins, that is what is wrong with it.
    if found["start"] is not None and duration is None and found["text"] and start >= 0:
        what = f"must have a duration or an end, too, but has the start {start:g} s alone"
        raise Unusable("bad line", what)
    return start, duration


def _check_names(row: Mapping[str, Any], audio: str | None) -> None:
    """Raise ``Unusable`` where a time has another name: ignored, the whole recording would be heard."""
    for name in row if audio else ():
        if name not in KNOWN and _MOMENT.fullmatch(str(row[name])) and _SPAN.fullmatch(_snake(name)):
            what = f"{name!r} must be named start or end, or offset and duration, in seconds"
            raise Unusable("bad line", what)


def _snake(name: str) -> str:
    """``startTime`` as ``start_time``."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower().strip()


def _split(said: str | None) -> Split | None:
    split = split_of(said) if said else None
    if said and split is None:
        what = f"split must be train, valid or test, but is {short(said)!r} instead"
        raise Unusable("bad line", what)
    return split


def _id(values: Mapping[str, Any], audio: str) -> str:
    """The name that an utterance would have whose row cannot be used, as far as that tells."""
    if isinstance(values["id"], str):
        return values["id"]
    try:
        return id_of(audio, seconds(str(values["start"] or 0))) if audio else ""
    except ValueError:
        return audio


def _value(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The first value of ``names`` that is there and not empty."""
    values = (row[name] for name in names if row.get(name) is not None)
    values = (value.strip() if isinstance(value, str) else value for value in values)
    return next((value for value in values if value != ""), None)


def _as_text(name: str, value: Any) -> str | None:
    """``value`` as a table has it. Raises ``Unusable`` where it is of a type that ``name`` cannot be."""
    if value is None or isinstance(value, str):
        return value
    kind, types = _OTHERS.get(name, ("a text", ()))
    if type(value) in types:  # not isinstance: true is no 1
        return str(value)
    raise Unusable("bad line", f"{name} must be {kind}, but is {short(repr(value))} instead")
