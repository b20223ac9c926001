"""What the command lines share: clear ends, and the corpus or beam search that the options ask for."""

from __future__ import annotations

import argparse
import contextlib
import errno
from collections.abc import Iterable, Iterator

from supernet.arguments import ArgumentError
from supernet.beam import Beam, BeamSearch
from supernet.console.text import fail, note
from supernet.decoding import Decoder
from supernet.errors import UserError
from supernet.resolve import ConfigError, Data, parse_set


@contextlib.contextmanager
def main_guard() -> Iterator[None]:
    """Turn what a user can cause into one clear line and exit status 2, and Ctrl-C into a word of what
    remains.
    """
    try:
        yield
    except ArgumentError as e:
        fail("\n".join(e.about_options()))
    except UserError as e:
        fail(str(e))
    except OSError as e:
        fail(_explain(e))


def _explain(error: OSError) -> str:
    where = f"'{error.filename}'" if error.filename else "the output"
    if error.errno == errno.ENOSPC:
        return (
            f"the disk must have room for {where}, but is full. Free some, then the same command continues."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where} must be writable, but is not ({error.strerror}). Choose another folder with --out."
    return f"{where}: {error.strerror or error}"


def open_beam(args: argparse.Namespace) -> Beam | None:
    """The beam search that the options ask for, if they do."""
    given = {"size": args.beam, "lm": args.lm, "lexicon": args.lexicon}
    given |= {"lm_weight": args.lm_weight, "word_score": args.word_score}
    given = {name: value for name, value in given.items() if value is not None}
    if args.lm is None and "lm_weight" in given:
        raise ConfigError(["`--lm-weight` must come with --lm, but there is none."])
    if args.lm is None and args.lexicon is None and "word_score" in given:
        raise ConfigError(["`--word-score` must come with --lm or --lexicon, but there is none."])
    return Beam(**given) if given else None


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
