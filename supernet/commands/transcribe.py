"""Transcribe recordings to text or subtitles."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from supernet.audio import recordings as audio
from supernet.audio.specification import SAMPLE_RATE
from supernet.commands.options import note_left_out, open_beam, suggesting_to_fit
from supernet.console.progress import progress
from supernet.console.text import complain, json_encodable, note, put
from supernet.recognition.chunks import CHUNK_SECONDS
from supernet.recognition.transcript import Transcript
from supernet.recognition.transcript_formats import FORMATS, SUBTITLES, SUFFIXES
from supernet.recognizer import Recognizer
from supernet.runs.run import RunError
from supernet.system.files import write_whole
from supernet.text.plain import plain

STDIN = "-"
TranscriptFormat = Callable[[str, Transcript], str]
"""Formats a recording's name and transcript."""


@dataclass(frozen=True)
class Source:
    """A recording, as named by the user."""

    name: str
    seconds: float
    """According to its header; 0 if that is unknown."""

    def blocks(self) -> Iterator[Tensor]:
        return audio.read_audio(sys.stdin.buffer if self.name == STDIN else Path(self.name))


def transcribe(args: argparse.Namespace) -> int:
    """Run the command ``transcribe``; returns the number of recordings that could not be read."""
    names = list(names_of(args.recordings))
    write = _writer(args, names)
    recognizer = Recognizer.load(args.run, selection=args.selection, beam=open_beam(args), device=args.device)
    if args.size is not None:
        recognizer = recognizer.use(args.size)
    if args.cascade is not None:
        is_given = args.threshold is not None and args.threshold.kind == "threshold"
        sizes = [name.strip() for name in args.cascade.split(",")]
        with suggesting_to_fit(args.run, args.cascade):
            recognizer = recognizer.cascade(*sizes, threshold=args.threshold.amount if is_given else None)
    note_left_out(recognizer.decoder)
    sources = [Source(name, 0.0 if name == STDIN else audio.seconds(Path(name))) for name in names]
    if recognizer.lengths is None and any(source.seconds > CHUNK_SECONDS for source in sources):
        note(
            f"'{args.run}' does not record how long its training utterances were. If they were much shorter "
            "than these recordings, expect many errors."
        )
    failed = _transcribe(recognizer, sources, args.batch, write)
    if failed and len(sources) > 1:
        complain(f"{failed} of {len(sources)} recordings could not be read.")
    return failed


def names_of(recordings: list[str]) -> Iterator[str]:
    """The recordings, with folders replaced by the audio files in them at any depth."""
    known = audio.extensions()
    for name in recordings:
        if name == STDIN or not Path(name).is_dir():
            yield name
            continue
        inside = sorted(str(file) for file in Path(name).rglob("*") if file.suffix.lower() in known)
        if not inside:
            raise RunError(f"`RECORDING` must be an audio file or a folder of them, but '{name}' has none.")
        yield from inside


def _writer(args: argparse.Namespace, names: list[str]) -> Callable[[str, Transcript], None]:
    """A function that writes each transcript."""
    form = _as_json if args.format == "jsonl" else _harmless(FORMATS[args.format])
    if args.out is None:
        if args.format in SUBTITLES and len(names) > 1:
            raise RunError(
                f"`--out` must name a folder for the {args.format} files of {len(names)} recordings."
            )
        return lambda name, result: put(form(name, result))
    files = {name: args.out / f"{_stem(name)}.{SUFFIXES[args.format]}" for name in names}
    if len(set(files.values())) < len(set(names)):
        raise RunError("`--out` must be given recordings with different names, but some share theirs.")
    args.out.mkdir(parents=True, exist_ok=True)
    return lambda name, result: write_whole(files[name], form(name, result))


def _harmless(form: TranscriptFormat) -> TranscriptFormat:
    """``form`` with control characters escaped: a model's tokens may contain any."""

    def written(name: str, result: Transcript) -> str:
        words = tuple(replace(word, text=plain(word.text)) for word in result.words)
        return form(plain(name), replace(result, text=plain(result.text), words=words))

    return written


def _as_json(name: str, result: Transcript) -> str:
    r"""A line with JSON escapes: ``\u001b``, and ``\u00e4`` if standard output cannot encode that letter."""
    return json_encodable(FORMATS["jsonl"](name, result), sys.stdout.encoding or "utf-8")


def _stem(name: str) -> str:
    return "stdin" if name == STDIN else Path(name).stem


def _transcribe(
    recognizer: Recognizer, sources: list[Source], batch: int, write: Callable[[str, Transcript], None]
) -> int:
    """Write each transcript; returns the number of recordings that could not be read."""
    failed, total = 0, round(sum(source.seconds for source in sources))
    with progress() as report:
        recordings = _counted(sources, lambda seconds: report("seconds of audio", round(seconds), total))
        for source, result in zip(sources, recognizer.transcribe_many(recordings, batch), strict=True):
            if isinstance(result, Transcript):
                write(source.name, result)
            else:
                failed += 1
                name = "standard input" if source.name == STDIN else source.name
                complain(audio.complaint(name, result))
    return failed


def _counted(sources: list[Source], report: Callable[[float], None]) -> Iterator[Iterator[Tensor]]:
    """The blocks of each recording; ``report`` gets the total number of seconds read."""
    done = 0.0

    def blocks(source: Source) -> Iterator[Tensor]:
        nonlocal done
        for block in source.blocks():
            yield block
            done += len(block) / SAMPLE_RATE
            report(done)

    for source in sources:
        yield blocks(source)
