"""Utterances as rows with named columns, which tables and JSON have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supernet.batch import Split
from tasks.entries import Entry, id_of, locate, seconds, split_of
from tasks.problems import Problem

COLUMNS: dict[str, tuple[str, ...]] = {
    "audio": ("audio_filepath", "path", "audio", "wav", "file", "filename"),
    "text": ("text", "transcript", "transcription", "sentence"),
    "start": ("offset", "start"),
    "duration": ("duration",),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "split": ("split",),
    "id": ("id", "utt_id"),
}
"""What a row may tell, and the names that people give it; the first that is there counts."""


def entry(row: Mapping[str, Any], where: str, folder: Path, split: Split | None) -> Entry | Problem:
    """The utterance that ``row`` of a listing in ``folder`` tells of."""
    found = {name: _value(row, names) for name, names in COLUMNS.items()}
    audio = found["audio"]
    try:
        start = seconds(found["start"] or "0")
        duration = None if found["duration"] is None else seconds(found["duration"])
    except ValueError:
        return Problem(
            split or "train", audio or "", "bad line", where, "offset and duration must be numbers"
        )
    said = split_of(found["split"]) if found["split"] else split
    if found["split"] and said is None:
        what = f"split must be train, valid or test, but is {found['split']!r} instead"
        return Problem("train", audio or "", "bad line", where, what)
    id = found["id"] or (id_of(audio, start) if audio else where)
    path = locate(audio, folder) if audio else None
    return Entry(id, where, path, found["text"], said, start, duration, found["speaker"])


def _value(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first value of ``names`` that is there and not empty."""
    values = (str(row[name]).strip() for name in names if row.get(name) is not None)
    return next((value for value in values if value), None)
