"""What options of several commands ask for: a beam search, a corpus that has changed."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from supernet.console.text import note
from supernet.errors import ConfigError
from supernet.recognition.beam import BeamConfig, BeamSearch
from supernet.recognition.decoding import Decoder
from supernet.settings.presets import Data, parse_set


def open_beam(args: argparse.Namespace) -> BeamConfig | None:
    """The beam search that the options ask for, if they do."""
    given = {"size": args.beam, "lm": args.lm, "lexicon": args.lexicon}
    given |= {"lm_weight": args.lm_weight, "word_score": args.word_score}
    given = {name: value for name, value in given.items() if value is not None}
    if args.lm is None and "lm_weight" in given:
        raise ConfigError(["`--lm-weight` must come with --lm, but there is none."])
    if args.lm is None and args.lexicon is None and "word_score" in given:
        raise ConfigError(["`--word-score` must come with --lm or --lexicon, but there is none."])
    return BeamConfig(**given) if given else None


def corpus_changes(settings: Iterable[str]) -> list[Data]:
    """What ``--set`` changes of the task of a trained run."""
    changes = [parse_set(text) for text in settings]
    if other := [key for change in changes for key in change if key != "task"]:
        raise ConfigError(
            [f"`--set` must be a setting of the task, such as task.path, but sets '{other[0]}'."]
        )
    return changes


def note_left_out(decoder: Decoder) -> None:
    """Say on standard error which words a beam search cannot find."""
    if isinstance(decoder, BeamSearch) and (words := decoder.left_out):
        note(f"{len(words)} words are left out: the tokens cannot spell them, e.g. '{words[0]}'.")
