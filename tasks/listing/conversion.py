"""Conversion of a listing to a manifest folder. It validates every entry and records every problem instead of
stopping at the first.
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

from supernet.audio.resampling import check_rate
from supernet.audio.specification import SAMPLE_RATE, WINDOW
from supernet.errors import AudioError
from supernet.system.devices import with_threads
from supernet.task import SPLITS, ProgressCallback, Split
from supernet.text.spelling import control_characters, normal
from tasks.audio.cuts import load_features
from tasks.audio.headers import read_header
from tasks.audio.segments import TOLERANCE
from tasks.files.members import MEMBER, Member
from tasks.files.problems import Problem, ProblemWriter, Unusable, first_few, shorten, write_problems
from tasks.listing.entries import Entry, Source
from tasks.listing.splits import SplitAssigner
from tasks.store.manifest_folder import LISTED, PART, manifest_path
from tasks.store.summary import Summary


def convert(source: Source, folder: Path, report: ProgressCallback, decode: bool = False) -> None:
    """Write manifests, a list of problems and a summary.

    Utterances are streamed: only a few numbers of each stay in memory. Paths of audio become absolute.

    Args:
        source: The corpus.
        folder: The folder to write into.
        report: Called with the progress.
        decode: Whether to decode all audio instead of reading headers only.

    Raises:
        TaskError: If there are too few utterances to divide into splits.
    """
    assigner = SplitAssigner(source, report)
    with ExitStack() as stack:
        problems = stack.enter_context(write_problems(folder))
        writers = {
            split: stack.enter_context(CutSet.open_writer(manifest_path(folder, split))) for split in SPLITS
        }
        for listing in source.unread:
            what = "not read: other listings here are named after splits, or are in a format that comes first"
            problems.add(Problem("train", "", "left aside", str(listing), what))
        inspection = _Inspection(problems, decode)
        for number, item in enumerate(source.read(), start=1):
            if isinstance(item, Problem):
                problems.add(item)
            elif (cut := inspection.cut(item, split := assigner.split(item))) is not None:
                writers[split].write(cut)
            if number % 100 == 0 or number == assigner.total:
                report("inspecting audio", number, assigner.total)
        for writer in writers.values():
            writer.close()
        _note_characters(folder, inspection.summary, problems)
    inspection.summary.save(folder, source.digest, problems.numbers, decode)


class _Inspection:
    """The state of the inspection of all entries."""

    def __init__(self, problems: ProblemWriter, decode: bool) -> None:
        self._decode = decode
        self.summary = Summary()
        self._problems = problems
        self._seen: set[int] = set()
        self._rate: int | None = None

    def cut(self, entry: Entry, split: Split) -> Cut | None:
        """Convert ``entry`` to a cut; if that is impossible, record a problem and return None."""
        try:
            text = _text(entry)
            if entry.is_named and self._is_known(split, entry.id):
                raise Unusable("duplicate", f"{shorten(entry.id)!r} is listed already")
            span = _span(entry, self._decode)
            recording, start, duration, channels = span
            if self._decode:
                _check_samples(_cut(entry, text, *span))
            if not entry.is_named:
                said = (str(entry.audio), entry.member, start, duration, channels, entry.speaker, text)
                entry = replace(entry, id=self._name(entry.id, split, said))
        except Unusable as error:
            self._add(entry, split, error)
            return None
        self._note(entry, split, recording)
        part = self.summary.part(split, entry.part)
        part.add(duration, recording.sampling_rate, text, entry.speaker)
        return _cut(entry, text, *span)

    def _name(self, name: str, split: Split, said: tuple[Any, ...]) -> str:
        """Make a derived name unique: several people may speak at once. Raises ``Unusable`` if the same was
        said before.
        """
        if self._is_known(split, said):
            raise Unusable(
                "duplicate", f"{shorten(name)!r} is listed already, with the same speaker and text"
            )
        names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        return next(free for free in names if not self._is_known(split, free))

    def _is_known(self, *what: Any) -> bool:
        """Whether it has been seen before; from now on, it has."""
        size = len(self._seen)
        self._seen.add(hash(what))
        return len(self._seen) == size

    def _note(self, entry: Entry, split: Split, recording: Recording) -> None:
        rate = recording.sampling_rate
        self._rate = self._rate or rate
        if rate != self._rate:
            self._add(entry, split, Unusable("sampling rate", f"{rate} Hz; the first one has {self._rate}"))
        if self._is_known(str(entry.audio), entry.member, entry.start, entry.channel):
            self._add(entry, split, Unusable("same audio", "listed already"))

    def _add(self, entry: Entry, split: Split, error: Unusable) -> None:
        audio = "" if entry.audio is None else str(entry.audio.absolute())
        self._problems.add(Problem(split, entry.id, error.kind, entry.where, str(error), audio))


def _text(entry: Entry) -> str:
    text = normal(entry.text)
    # U+FFFD replaces bytes that were not UTF-8; unpaired surrogates, which JSON can spell, cannot be written.
    if "\ufffd" in text or any("\ud800" <= character <= "\udfff" for character in text + entry.id):
        raise Unusable("bad line", "its text must be UTF-8, but is not")
    if found := control_characters(text):
        raise Unusable("bad line", f"its text must have no control characters, but has {first_few(found)}")
    # Lists and transcripts have one utterance per line.
    if found := control_characters(entry.id, spaces=True):
        raise Unusable("bad line", f"its name must have no control characters, but has {first_few(found)}")
    if not text:
        raise Unusable("audio without text", "no text")
    return text


Span = tuple[Recording, float, float, tuple[int, ...]]
"""A recording and the position of an utterance in it: start and duration in seconds, and channels."""


def _span(entry: Entry, decode: bool) -> Span:
    if entry.audio is None:
        raise Unusable("text without audio", "no audio")
    recording = _recording(entry.audio.absolute(), entry.member, decode)
    rate, most = recording.sampling_rate, recording.num_samples
    first = round(entry.start * rate)
    last = most if entry.duration is None else round((entry.start + entry.duration) * rate)
    if not 0 <= first < min(last, most) or last > most + TOLERANCE * rate:
        raise Unusable(
            "segment",
            f"must lie within its audio of {recording.duration:g} s, but lies from {first / rate:g} s to "
            f"{last / rate:g} s instead",
        )
    channels = tuple(recording.sources[0].channels)
    if entry.channel is not None and entry.channel not in channels:
        what = f"channel must be less than {len(channels)}, counted from 0, but is {entry.channel} instead"
        raise Unusable("segment", what)
    chosen = channels if entry.channel is None else (entry.channel,)
    return recording, first / rate, (min(last, most) - first) / rate, chosen


@lru_cache(maxsize=256)
def _recording(path: Path, member: Member | None, decode: bool) -> Recording:
    """Describe the recording ``path``, or its ``member``, from its header. Cached, as segments of a recording
    mostly follow each other.
    """
    if ".ark" in path.suffix:
        raise Unusable("unreadable", f"'{path}' is in a Kaldi archive; convert it to an audio file")
    if not os.path.isfile(path):  # unlike the path's own method, accepts names that no file can have
        what = "is not a regular file" if os.path.exists(path) else "does not exist"
        raise Unusable("missing file", f"'{path}' {what}")
    if any("\ud800" <= character <= "\udfff" for character in str(path)):  # a manifest cannot contain it
        raise Unusable("unreadable", f"'{path}' must have a name in UTF-8, but does not. Rename it")
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


def _check_samples(cut: Cut) -> None:
    """Raise ``Unusable`` if there is nothing to recognize in the channels and seconds of ``cut``."""
    # Cuts that are too short are found by their length, without decoding.
    if round(cut.duration * SAMPLE_RATE) < WINDOW:
        return
    try:
        with with_threads(1):
            load_features(cut)
    except AudioError as error:
        raise Unusable("unusable audio", str(error)) from error


def _note_characters(folder: Path, summary: Summary, problems: ProblemWriter) -> None:
    """Record texts of the other splits with characters that no training text has."""
    known = set[str]().union(
        *(part.characters for (split, _), part in summary.parts.items() if split == "train")
    )
    for split in SPLITS[1:]:
        if not any(part.characters - known for (name, _), part in summary.parts.items() if name == split):
            continue
        for cut in CutSet.from_jsonl_lazy(manifest_path(folder, split)):
            (supervision,) = cut.supervisions
            if other := sorted(set(supervision.text) - known):
                what = f"no training text has {first_few([repr(character) for character in other])}"
                problems.add(Problem(split, cut.id, "characters", supervision.custom[LISTED], what))
