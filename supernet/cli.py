"""What the command lines share: clear ends, and the subnet or beam search that the options ask for."""

from __future__ import annotations

import argparse
import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from supernet.beam import Beam, BeamSearch
from supernet.checkpoint import Model, fingerprint
from supernet.console.text import fail, note
from supernet.decoding import Decoder
from supernet.errors import UserError
from supernet.resolve import ConfigError
from supernet.run import Run, RunError
from supernet.selections import Choice, Selection
from supernet.units import Subnet


@contextlib.contextmanager
def main_guard() -> Iterator[None]:
    """Turn what a user can cause into one clear line and exit status 2, and Ctrl-C into a word of what
    remains.
    """
    try:
        yield
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


def note_left_out(decoder: Decoder) -> None:
    """Say on standard error which words a beam search cannot find."""
    if isinstance(decoder, BeamSearch) and (words := decoder.left_out):
        note(f"{len(words)} words are left out: the tokens cannot spell them, e.g. '{words[0]}'.")


def open_subnet(run: Run, model: Model, args: argparse.Namespace) -> Subnet:
    """The subnet that ``--size`` and ``--selection`` ask for."""
    return choose(open_selection(run, model, args.selection), args.size, "--size").subnet


def choose(selection: Selection, budget: str | None, option: str) -> Choice:
    try:
        return selection.choice(budget)
    except ValueError as e:
        raise RunError(f"`{option}` {e}.") from None


def open_selection(run: Run, model: Model, path: Path | None) -> Selection:
    """A selection file checked against the run's network, or else the run's own subnets."""
    if path is None:
        choices = tuple(Choice(str(size), subnet) for size, subnet in run.subnets().items())
        if not choices:
            raise RunError(f"`RUN` must have been trained to the end, but '{run.folder}' has no subnets yet.")
        return Selection("run", choices)
    try:
        selection = Selection.load(path)
    except (OSError, ValueError) as e:
        raise RunError(f"`--selection` must be a subnet or a selection, but '{path}' is not: {e}") from None
    if selection.network not in (None, fingerprint(run.model_stem)):
        raise RunError(
            f"`--selection` must have been made for the network of '{run.folder}', but '{path}' was made "
            "for another one (other weights). Select again: python -m selection RUN."
        )
    _check_fits(model, selection)
    return selection


def _check_fits(model: Model, selection: Selection) -> None:
    for choice in selection.choices:
        try:
            model.recogniser.table.kept(choice.subnet)
        except ValueError as e:
            raise RunError(str(e)) from None
