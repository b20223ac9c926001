"""The beam search and the changes of the corpus that options of several commands ask for."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from supernet.console.front import command
from supernet.console.text import note
from supernet.errors import ArgumentError, ConfigError
from supernet.recognition.beam import BeamConfig, BeamSearch
from supernet.recognition.decoding import Decoder
from supernet.scoring.confidence import NotFitted
from supernet.settings.presets import Data, parse_set


def open_beam(args: argparse.Namespace) -> BeamConfig | None:
    """The configuration of beam search that the options ask for, if they do."""
    given = {"size": args.beam, "lm": args.lm, "lexicon": args.lexicon}
    given |= {"lm_weight": args.lm_weight, "word_score": args.word_score}
    given = {name: value for name, value in given.items() if value is not None}
    if args.lm is None and "lm_weight" in given:
        raise ConfigError(["`--lm-weight` must come with --lm, but there is none."])
    if args.lm is None and args.lexicon is None and "word_score" in given:
        raise ConfigError(["`--word-score` must come with --lm or --lexicon, but there is none."])
    return BeamConfig(**given) if given else None


def corpus_changes(settings: Iterable[str]) -> list[Data]:
    """The layers of settings in which ``--set`` changes the task of a trained run."""
    changes = [parse_set(text) for text in settings]
    if other := [key for change in changes for key in change if key != "task"]:
        raise ConfigError(
            [f"`--set` must be a setting of the task, such as task.path, but sets '{other[0]}'."]
        )
    return changes


@contextmanager
def suggesting_to_fit(run: Path, cascade: str) -> Iterator[None]:
    """Suggest a command where a cascade has no threshold."""
    try:
        yield
    except NotFitted as e:
        fit = command("evaluate", run, "--cascade", cascade, "--threshold", "auto")
        raise ArgumentError(e.names, *(f"{problem} To fit one: {fit}" for problem in e.problems)) from None


def note_left_out(decoder: Decoder) -> None:
    """Note which words of the vocabulary beam search cannot output."""
    if isinstance(decoder, BeamSearch) and (words := decoder.left_out):
        note(f"{len(words)} words are ignored because the tokens cannot spell them, e.g. '{words[0]}'.")


def number_or_text(text: str) -> int | str:
    """A whole number, or the text itself, which validation then reports."""
    text = text.strip()
    return int(text) if text.lstrip("-").isdigit() else text


def numbers(text: str) -> list[int | str]:
    """A comma-separated list, of which each part is as in ``number_or_text``."""
    return [number_or_text(part) for part in text.split(",") if part.strip()]
