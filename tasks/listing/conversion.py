"""From a listing to a manifest folder: every entry looked at, every problem written down, never a stop at the
first.
"""

from __future__ import annotations

import itertools
import os
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from lhotse import AudioSource, CutSet, MonoCut, MultiCut, Recording, SupervisionSegment
from lhotse.cut import Cut

from supernet.audio.features import SAMPLE_RATE, WINDOW
from supernet.audio.recordings import AudioError, check_rate
from supernet.system.devices import with_threads
from supernet.task import SPLITS, ProgressCallback, Split
from supernet.text.spelling import control_characters, normal
from tasks.audio.cuts import load_features
from tasks.audio.headers import read_header
from tasks.audio.segments import TOLERANCE
from tasks.files.members import MEMBER, Member
from tasks.files.problems import Problem, Problems, Unusable, open_problems, short, some
from tasks.listing.division import Division
from tasks.listing.entries import Entry, Source
from tasks.store.manifest_folder import LISTED, PART, manifest_path
from tasks.store.summary import Summary


def convert(source: Source, folder: Path, report: ProgressCallback, decode: bool = False) -> None:
    """Write the manifests of ``source`` into ``folder``, with the list of its problems and a summary.

    Utterance by utterance: what stays in memory is a few numbers each. Of audio only the header is read, all
    of it with ``decode``; its paths become absolute. Raises ``TaskError`` where there is too little to
    divide.
    """
    division = Division(source, report)
    with ExitStack() as stack:
        problems = stack.enter_context(open_problems(folder))
        writers = {
            split: stack.enter_context(CutSet.open_writer(manifest_path(folder, split))) for split in SPLITS
        }
        for listing in source.aside:
            what = "not read: other listings here are named after splits, or in a form that comes first"
            problems.add(Problem("train", "", "left aside", str(listing), what))
        inspection = _Inspection(problems, decode)
        for number, item in enumerate(source.read(), start=1):
            if isinstance(item, Problem):
                problems.add(item)
            elif (cut := inspection.cut(item, split := division.split(item))) is not None:
                writers[split].write(cut)
            if number % 100 == 0 or number == division.total:
                report("looking at audio", number, division.total)
        for writer in writers.values():
            writer.close()
        _note_characters(folder, inspection.summary, problems)
    inspection.summary.save(folder, source.digest, problems.numbers, decode)


class _Inspection:
    """Everything known of the entries so far."""

    def __init__(self, problems: Problems, decode: bool) -> None:
        self._decode = decode
        self.summary = Summary()
        self._problems = problems
        self._seen: set[int] = set()
        self._rate: int | None = None

    def cut(self, entry: Entry, split: Split) -> Cut | None:
        """``entry`` as a cut, or None and a problem."""
        try:
            text = _text(entry)
            if entry.is_named and self._is_known(split, entry.id):
                raise Unusable("duplicate", f"{short(entry.id)!r} is listed before")
            piece = _piece(entry, self._decode)
            recording, start, duration, channels = piece
            if self._decode:
                _listen(_cut(entry, text, *piece))
            if not entry.is_named:
                said = (str(entry.audio), entry.member, start, duration, channels, entry.speaker, text)
                entry = replace(entry, id=self._name(entry.id, split, said))
        except Unusable as error:
            self._add(entry, split, error)
            return None
        self._note(entry, split, recording)
        part = self.summary.part(split, entry.part)
        part.add(duration, recording.sampling_rate, text, entry.speaker)
        return _cut(entry, text, *piece)

    def _name(self, name: str, split: Split, said: tuple[Any, ...]) -> str:
        """``name``, which is no promise of the listing, or the next that no other utterance has: several may
        speak at once.
        """
        if self._is_known(split, said):
            raise Unusable("duplicate", f"{short(name)!r} is listed before, with the same speaker and text")
        names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        return next(free for free in names if not self._is_known(split, free))

    def _is_known(self, *what: Any) -> bool:
        """Whether it was seen before, which it is from now on."""
        size = len(self._seen)
        self._seen.add(hash(what))
        return len(self._seen) == size

    def _note(self, entry: Entry, split: Split, recording: Recording) -> None:
        rate = recording.sampling_rate
        self._rate = self._rate or rate
        if rate != self._rate:
            self._add(entry, split, Unusable("sampling rate", f"{rate} Hz; the first one has {self._rate}"))
        if self._is_known(str(entry.audio), entry.member, entry.start, entry.channel):
            self._add(entry, split, Unusable("same audio", "listed before"))

    def _add(self, entry: Entry, split: Split, error: Unusable) -> None:
        audio = "" if entry.audio is None else str(entry.audio.absolute())
        self._problems.add(Problem(split, entry.id, error.kind, entry.where, str(error), audio))


def _text(entry: Entry) -> str:
    text = normal(entry.text)
    # U+FFFD stands for what was no UTF-8; half a pair, which JSON can spell, cannot be written either.
    if "\ufffd" in text or any("\ud800" <= sign <= "\udfff" for sign in text + entry.id):
        raise Unusable("bad line", "its text must be UTF-8, but is not")
    if found := control_characters(text):
        raise Unusable("bad line", f"its text must have no control characters, but has {some(found)}")
    # In lists and transcripts a line is an utterance.
    if found := control_characters(entry.id, spaces=True):
        raise Unusable("bad line", f"its name must have no control characters, but has {some(found)}")
    if not text:
        raise Unusable("audio without text", "no text")
    return text


Piece = tuple[Recording, float, float, tuple[int, ...]]
"""A recording, and where the speech in it lies: start and duration in seconds, and channels."""


def _piece(entry: Entry, decode: bool) -> Piece:
    if entry.audio is None:
        raise Unusable("text without audio", "no audio")
    recording = _recording(entry.audio.absolute(), entry.member, decode)
    rate, most = recording.sampling_rate, recording.num_samples
    first = round(entry.start * rate)
    last = most if entry.duration is None else round((entry.start + entry.duration) * rate)
    if not 0 <= first < min(last, most) or last > most + TOLERANCE * rate:
        raise Unusable(
            "segment", f"{first / rate:g} s to {last / rate:g} s of audio with {recording.duration:g} s"
        )
    channels = tuple(recording.sources[0].channels)
    if entry.channel is not None and entry.channel not in channels:
        what = f"channel {entry.channel}, counted from 0, of audio with {len(channels)}"
        raise Unusable("segment", what)
    chosen = channels if entry.channel is None else (entry.channel,)
    return recording, first / rate, (min(last, most) - first) / rate, chosen


@lru_cache(maxsize=256)
def _recording(path: Path, member: Member | None, decode: bool) -> Recording:
    """What the header of ``path``, or of its ``member``, says; segments of one recording mostly follow each
    other.
    """
    if ".ark" in path.suffix:
        raise Unusable("unreadable", f"'{path}' is in a Kaldi archive; write it as an audio file")
    if not os.path.isfile(path):  # unlike the path's own method, also for a name that no file can have
        what = "is no ordinary file" if os.path.exists(path) else "does not exist"
        raise Unusable("missing file", f"'{path}' {what}")
    if any("\ud800" <= sign <= "\udfff" for sign in str(path)):  # no manifest can hold it
        raise Unusable("unreadable", f"'{path}' must have a name in UTF-8, but has none. Rename it")
    name = f"{path}:{member.name}" if member else str(path)
    if (member.size if member else path.stat().st_size) == 0:
        raise Unusable("zero length", f"'{name}' is an empty file")
    header = read_header(path, member, decode)
    if header.frames <= 0:
        raise Unusable("zero length", f"'{name}' has no samples")
    try:
        check_rate(header.samplerate)
    except AudioError as error:
        raise Unusable("unreadable", f"'{name}' cannot be used: {error}") from error
    source = AudioSource("file", list(range(header.channels)), str(path))
    id = Path(member.name if member else path).stem
    return Recording(id, [source], header.samplerate, header.frames, header.frames / header.samplerate)


def _cut(
    entry: Entry, text: str, recording: Recording, start: float, duration: float, channels: tuple[int, ...]
) -> Cut:
    about = {LISTED: entry.where, **({PART: entry.part} if entry.part else {})}
    channel = channels[0] if len(channels) == 1 else list(channels)
    supervision = SupervisionSegment(
        entry.id, recording.id, 0.0, duration, channel, text, speaker=entry.speaker, custom=about
    )
    kind = MonoCut if len(channels) == 1 else MultiCut
    custom = {MEMBER: asdict(entry.member)} if entry.member else None
    return kind(
        entry.id, start, duration, channel, supervisions=[supervision], recording=recording, custom=custom
    )


def _listen(cut: Cut) -> None:
    """Raise ``Unusable`` where a training would find nothing to recognize in ``cut``: its own channels
    and seconds, of which the rest of the recording tells nothing.
    """
    # What is too short is told by its length, decoded or not.
    if round(cut.duration * SAMPLE_RATE) < WINDOW:
        return
    try:
        with with_threads(1):
            load_features(cut)
    except AudioError as error:
        raise Unusable("unusable audio", str(error)) from error


def _note_characters(folder: Path, summary: Summary, problems: Problems) -> None:
    """Note texts of the other splits with characters that no training text has."""
    known = set[str]().union(
        *(part.characters for (split, _), part in summary.parts.items() if split == "train")
    )
    for split in SPLITS[1:]:
        if not any(part.characters - known for (name, _), part in summary.parts.items() if name == split):
            continue
        for cut in CutSet.from_jsonl_lazy(manifest_path(folder, split)):
            (supervision,) = cut.supervisions
            if other := sorted(set(supervision.text) - known):
                what = f"no training text has {some([repr(sign) for sign in other])}"
                problems.add(Problem(split, cut.id, "characters", supervision.custom[LISTED], what))
