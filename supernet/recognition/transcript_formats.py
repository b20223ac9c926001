"""The file formats of transcripts: text, JSON lines, and SubRip and WebVTT subtitles."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

from supernet.recognition.transcript import Timed, Transcript

_CUE_SECONDS, _CUE_CHARACTERS, _CUE_PAUSE = 6.0, 84, 1.0
"""Limits of a subtitle: duration, characters (two lines), and the pause that ends it."""
_CUE_SHORTEST = 1.0


def as_text(name: str, result: Transcript) -> str:
    """A line of text: the recording's name, a tab, the transcript."""
    return f"{name}\t{result.text}\n"


def as_json(name: str, result: Transcript) -> str:
    """A line of JSON with the text, the times of words, and the confidence, if it is known."""
    data: dict[str, object] = {"file": name, "seconds": round(result.seconds, 3), "text": result.text}
    if result.confidence is not None:
        data |= {"confidence": round(result.confidence, 4), "size": result.size}
    data["words"] = [asdict(word) for word in result.words]
    return json.dumps(data, ensure_ascii=False) + "\n"


def as_srt(name: str, result: Transcript) -> str:
    """SubRip subtitles."""
    blocks = [
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{' '.join(word.text for word in cue)}\n"
        for number, (cue, start, end) in enumerate(cues(result), 1)
    ]
    return "\n".join(blocks)


def as_vtt(name: str, result: Transcript) -> str:
    """WebVTT subtitles with the start of each word."""
    blocks = [
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{' '.join(map(_vtt_word, cue, range(len(cue))))}\n"
        for cue, start, end in cues(result)
    ]
    return "\n".join(["WEBVTT\n", *blocks])


FORMATS: dict[str, Callable[[str, Transcript], str]] = {
    "text": as_text,
    "jsonl": as_json,
    "srt": as_srt,
    "vtt": as_vtt,
}
SUFFIXES = {"text": "txt", "jsonl": "jsonl", "srt": "srt", "vtt": "vtt"}
SUBTITLES = ("srt", "vtt")


def cues(result: Transcript) -> list[tuple[list[Timed], float, float]]:
    """The words of each subtitle with its start and end; long enough to read, without overlap."""
    groups: list[list[Timed]] = []
    for word in result.words:
        if not groups or _is_full(groups[-1], word):
            groups.append([])
        groups[-1].append(word)
    limits = [*(group[0].start for group in groups[1:]), float("inf")]
    return [
        (group, group[0].start, min(max(group[-1].end, group[0].start + _CUE_SHORTEST), limit))
        for group, limit in zip(groups, limits, strict=False)
    ]


def _is_full(cue: list[Timed], word: Timed) -> bool:
    return (
        word.end - cue[0].start > _CUE_SECONDS
        or word.start - cue[-1].end > _CUE_PAUSE
        or sum(len(w.text) + 1 for w in cue) + len(word.text) > _CUE_CHARACTERS
    )


def _vtt_word(word: Timed, index: int) -> str:
    text = word.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text if index == 0 else f"<{_clock(word.start, '.')}>{text}"


def _clock(seconds: float, separator: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{separator}{rest % 1000:03}"
