"""Options that several commands share. Imports nothing heavy, so that ``--help`` is instant."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from supernet.console.parser import Wrong, number, whole, window

LM = "pip install -e '.[lm]'"
"""Installs what beam search with a language model needs."""


def add_subnet_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--size`` and ``--selection``, which choose a subnet of a run."""
    parser.add_argument(
        "--size",
        "--budget",
        dest="size",
        metavar="6|params=50%",
        help="size, or a selection's budget (default: the smallest)",
    )
    add_selection_option(parser)


def add_selection_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--selection",
        type=Path,
        metavar="FILE",
        help="a selection, e.g. RUN/selections/greedy.json, in place of the run's own subnets",
    )


def add_cascade_options(
    parser: argparse.ArgumentParser, metavar: str, help: str, parse: Callable[[str], object]
) -> None:
    """Add ``--cascade`` and ``--threshold``; ``parse`` raises ``ValueError`` with the rule of the latter."""

    def threshold(text: str) -> object:
        try:
            return parse(text)
        except ValueError as e:
            return Wrong(str(e))

    parser.add_argument(
        "--cascade",
        metavar="6,12",
        help="the first size, and the next one only where its confidence is below a threshold",
    )
    parser.add_argument("--threshold", type=threshold, metavar=metavar, help=help)


def check_cascade(args: argparse.Namespace, *others: str) -> Iterator[str]:
    """Problems of the options of a cascade, which cannot be combined with ``others``."""
    if args.cascade is None:
        if args.threshold is not None:
            yield "`--threshold` must come with --cascade, but there is none."
        return
    for name in others:
        if getattr(args, name) is not None:
            yield f"`--cascade` must be given without `--{name}`, but is given with it."


def add_checkpoint_options(parser: argparse.ArgumentParser, divides: bool = False) -> None:
    """Add the options that a checkpoint of another program needs in place of a run; with ``divides``,
    ``--granularity`` may also name other units than those of a run.
    """
    group = parser.add_argument_group("a fine-tuned checkpoint in place of RUN")
    group.add_argument("--task", metavar="NAME|PATH", help="the corpus, as in training")
    if divides:
        parser.add_argument(
            "--granularity",
            metavar="layer|module|component",
            help="kind of units (default: the run's; with another one, those of its full network are chosen "
            "in a folder beside it)",
        )
    else:
        group.add_argument("--granularity", metavar="layer|module", help="kind of units (default: layer)")


def add_average_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--average",
        type=window,
        metavar="2000-3000",
        help="the mean weights of the checkpoints from one update to another, in place of the run's weights",
    )


def add_set_option(parser: argparse.ArgumentParser, what: str, metavar: str = "a.b=c") -> None:
    """Add ``--set``, which collects any number of settings in ``settings``."""
    parser.add_argument(
        "--set",
        metavar=metavar,
        action="append",
        default=[],
        dest="settings",
        help=f"{what} (repeatable)",
    )


def add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1; default: a GPU if there is one")


def add_corpus_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--set task.a=b``, for a run whose corpus has moved."""
    add_set_option(parser, "current place of the corpus, e.g. task.path=/data/speech", "task.a=b")


def add_decoding_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--beam`` and the options of a language model; greedy decoding if none is given."""
    group = parser.add_argument_group(f"beam search (needs {LM})")
    group.add_argument("--beam", type=whole(), metavar="50", help="beam size: number of paths followed")
    group.add_argument(
        "--lm", type=Path, metavar="FILE", help="n-gram model over words, in ARPA or KenLM's binary format"
    )
    group.add_argument(
        "--lexicon",
        type=Path,
        metavar="FILE",
        help="vocabulary, one word per line (default: that of the ARPA file)",
    )
    group.add_argument(
        "--lm-weight", type=number, metavar="1.0", help="weight of the language model (default 1)"
    )
    group.add_argument(
        "--word-score", type=number, metavar="0.0", help="score added for each word (default 0)"
    )
