"""JSON: lines as in NeMo with audio_filepath, text, duration and offset, or an ESPnet ``data.json``.

Of ESPnet's listings, this reads version 1's ``{"utts": {ID: {"input": [{"feat": AUDIO}], "output": [{"text":
…}], "utt2spk": …}}}`` if the input is audio, not features; version 2 uses Kaldi's data folders. Lines are
read one by one; a single JSON value (ESPnet's, or a list of objects) must be read at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from supernet.task import Split
from tasks.files.problems import Problem
from tasks.formats.columns import COLUMNS, KNOWN, entry_of
from tasks.formats.format import NOTHING, Format, Found, choose, single
from tasks.listing.entries import Entries, numbered_lines, open_listing, split_of

_SUFFIXES = (".json", ".jsonl")


class JsonLines(Format):
    """JSON lines, a list of JSON objects, or ESPnet's JSON."""

    name = "NeMo's JSON lines or ESPnet's data.json"

    def find(self, path: Path) -> Found:
        if path.is_file():
            return single(path) if path.suffix in _SUFFIXES else NOTHING
        files = (file for file in path.iterdir() if file.suffix in _SUFFIXES and file.is_file())
        return choose(file for file in files if split_of(file.name) or _is_listing(file))

    def read(self, path: Path, split: Split | None) -> Entries:
        for where, row in _rows(path):
            if isinstance(row, dict) and not KNOWN.isdisjoint(row):
                yield entry_of(row, where, path.parent, split)
            else:
                what = "must be a JSON object with audio_filepath and text, but is not"
                yield Problem(split or "train", "", "bad line", where, what)


def _is_listing(path: Path) -> bool:
    """Whether the beginning of the file names audio and text: many folders hold other JSON."""
    with open(path, "rb") as file:
        head = file.read(2**14).decode(errors="replace").replace("\0", "")  # whatever the encoding
    names = (COLUMNS["audio"], COLUMNS["text"])
    return '"utts"' in head or all(any(f'"{name}"' in head for name in known) for known in names)


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield each row, None if it is not JSON, with its place."""
    whole = _whole(path)
    if whole is None:
        return ((f"{path}:{number}", _parse(line)) for number, line in numbered_lines(path))
    if isinstance(whole, list):
        return ((f"{path}:[{i}]", row) for i, row in enumerate(whole))
    return ((f"{path}:{id}", _from_espnet(id, utterance)) for id, utterance in whole["utts"].items())


def _whole(path: Path) -> Any:
    """The file as a single JSON value, a list or ESPnet's; None if it consists of lines."""
    _, first = next(numbered_lines(path), (0, ""))
    row = _parse(first)
    if isinstance(row, dict) and "utts" not in row:
        return None
    with open_listing(path) as file:
        content = _parse(file.read())
    is_espnet = isinstance(content, dict) and isinstance(content.get("utts"), dict)
    return content if is_espnet or isinstance(content, list) else None


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _from_espnet(id: str, utterance: Any) -> dict[str, Any] | None:
    """Convert an utterance of ESPnet's to a row; None if it is malformed."""
    try:
        text = next((output.get("text") for output in utterance.get("output", []) if "text" in output), None)
        audio = next((part.get("feat") for part in utterance.get("input", [])), None)
        values: Mapping[str, Any] = {"audio": audio, "text": text, "speaker": utterance.get("utt2spk")}
    except (AttributeError, TypeError):
        return None
    return {"id": id, **values}
