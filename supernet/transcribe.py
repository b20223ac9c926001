"""``python -m supernet.transcribe RUN --size 6 RECORDING …``: text, or subtitles, for any audio."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from supernet.console.guard import main_guard
from supernet.console.options import (
    add_cascade_options,
    add_decoding_options,
    add_device_option,
    add_subnet_options,
    check_cascade,
)
from supernet.console.parser import OneOf, Parser, chunk, parse, whole
from supernet.runs.places import check_source
from supernet.scoring.target import given_threshold

FORMATS = ("text", "jsonl", "srt", "vtt")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        name="transcribe",
        description="Transcribe recordings of any format that libsndfile reads, any sampling rate, "
        "number of channels and length. The exit status is 1 if some could not be read.",
    )
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="run folder, cut model, or fine-tuned checkpoint"
    )
    parser.add_argument(
        "recordings",
        nargs="+",
        metavar="RECORDING",
        help="audio file, folder of them, or - for standard input; with --chunk also: microphone",
    )
    add_subnet_options(parser)
    parser.add_argument(
        "--chunk",
        type=chunk,
        metavar="480ms+160ms",
        help="print text while the audio arrives, in chunks of this duration, each with this look-ahead; for "
        "a network trained with model.streaming",
    )
    add_cascade_options(
        parser, "auto|0.9", "threshold; auto: the one that evaluate fitted (default)", given_threshold
    )
    parser.add_argument(
        "--batch",
        type=whole(1),
        default=8,
        metavar="8",
        help="size of a batch, in chunks of the greatest length, 20 s or less (default 8)",
    )
    parser.add_argument(
        "--format", type=OneOf(*FORMATS), default="text", metavar="|".join(FORMATS), help="default: text"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder for one file per recording, instead of standard output",
    )
    add_device_option(parser)
    add_decoding_options(parser)
    return parser


def _problems(args: argparse.Namespace) -> Iterator[str]:
    yield from check_cascade(args, "size", "chunk")
    if args.chunk is None:
        return
    for name in ("out", "beam", "lm", "lexicon", "lm_weight", "word_score"):
        if getattr(args, name) is not None:
            yield f"`--chunk` must be given without `--{name.replace('_', '-')}`, but is given with it."
    if args.format not in (None, "text"):
        yield f"`--format` must be text with --chunk, but is {args.format} instead."


def main(arguments: list[str] | None = None) -> None:
    args = parse(build_parser(), arguments, _problems)
    with main_guard():
        if not (args.run / "model.json").is_file():  # which a cut model has alone
            check_source(args.run)
        if args.chunk is None:
            from supernet.commands.transcribe import transcribe
        else:
            from supernet.commands.live import transcribe_live as transcribe

        failed = transcribe(args)
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
