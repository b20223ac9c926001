"""What the command lines share: clear ends, progress, and the table of results."""

from __future__ import annotations

import argparse
import contextlib
import errno
import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from supernet.batch import Report
from supernet.beam import INSTALL, Beam, BeamSearch
from supernet.checkpoint import Model, fingerprint
from supernet.decoding import Decoder
from supernet.errors import UserError
from supernet.resolve import ConfigError
from supernet.run import Run, RunError
from supernet.scoring import Score
from supernet.selections import Choice, Selection
from supernet.units import MODULES, Subnet

# Not on a terminal, such as into a file, there is no reason to cut tables short.
console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120)


def is_main_process() -> bool:
    """Whether this process speaks for the run: the first, where there are several."""
    return os.environ.get("RANK", "0") == "0"


def fail(message: str, status: int = 2) -> NoReturn:
    """End with a line for each problem on standard error."""
    for line in message.splitlines():
        print(f"error: {line}", file=sys.stderr)
    raise SystemExit(status)


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


def add_subnet_options(parser: argparse.ArgumentParser) -> None:
    """``--size`` and ``--selection``: which subnet of a run a command line is about."""
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
        help="a selection, e.g. RUN/selections/greedy.json, instead of the run's own subnets",
    )


def add_set_option(parser: argparse.ArgumentParser, what: str, metavar: str = "a.b=c") -> None:
    """``--set``, for any number of settings; they are in ``settings``."""
    parser.add_argument(
        "--set",
        metavar=metavar,
        action="append",
        default=[],
        dest="settings",
        help=f"{what} (repeatable)",
    )


def add_decoding_options(parser: argparse.ArgumentParser) -> None:
    """``--beam`` and what a language model needs; greedy decoding where none is given."""
    group = parser.add_argument_group(f"beam search (needs {INSTALL})")
    group.add_argument("--beam", type=int, metavar="50", help="paths followed at once")
    group.add_argument(
        "--lm", type=Path, metavar="FILE", help="n-gram model over words: ARPA or KenLM's binary"
    )
    group.add_argument(
        "--lexicon",
        type=Path,
        metavar="FILE",
        help="the words there are, one a line (default: the ARPA file's)",
    )
    group.add_argument(
        "--lm-weight", type=float, metavar="1.0", help="factor on the model's log-probabilities"
    )
    group.add_argument("--word-score", type=float, metavar="0.0", help="added for each word")


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
        print(
            f"note: {len(words)} words are left out: the tokens cannot spell them, e.g. '{words[0]}'.",
            file=sys.stderr,
        )


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


@contextlib.contextmanager
def progress() -> Iterator[Report]:
    """A progress bar per kind of work, on the first process and where a terminal shows it."""
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # What is printed meanwhile goes where it should: redirected output is left alone, without a bar in it.
    where = console if console.is_terminal else Console(stderr=True)
    shown = where.is_terminal and is_main_process()
    with Progress(
        *columns, console=where, transient=True, redirect_stdout=where is console, disable=not shown
    ) as bars:
        known: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in known:
                known[what] = bars.add_task(what, total=total or None)
            bars.update(known[what], completed=done, total=total or None)

        yield report


SHORT_NAMES = (
    "kept: whole layers by number; of others the initials of the modules, · for one that is dropped."
)


def results_table(results: Mapping[str, Any], split: str = "test") -> Table:
    """Sizes (or a selection's budgets) in rows, with error rates and what they cost."""
    table = Table(title=results.get("title"), title_justify="left", padding=(0, 1, 0, 0))
    if any(":" in short_names(row["kept"]) for row in results["sizes"].values()):
        table.caption, table.caption_justify = SHORT_NAMES, "left"
    for name in ("size", "kept", "params", "MACs", f"{split} WER, 95 %", "CER, 95 %", "RTF"):
        table.add_column(name, justify="left" if name == "kept" else "right", overflow="fold")
    for size, row in sorted(results["sizes"].items(), key=lambda item: len(item[1]["kept"])):
        s = row[split]
        table.add_row(
            size,
            short_names(row["kept"]),
            f"{row['params'] / 1e6:.2f} M",
            f"{row['macs'] / 1e9:.2f} G",
            _rate(s["wer"], s["wer_ci95"]),
            _rate(s["cer"], s["cer_ci95"]),
            f"{row['rtf']:.4f}",
        )
    return table


def groups_table(title: str, what: str, groups: Mapping[str, Mapping[str, Score]]) -> Table:
    """Groups of utterances in rows, with the error rates of each size."""
    table = Table(title=title, title_justify="left", padding=(0, 1, 0, 0))
    labels = list(next(iter(groups.values())))
    table.add_column(what, overflow="fold")
    for name in ("utterances", "words", *(f"{label}: WER, CER" for label in labels)):
        table.add_column(name, justify="right")
    for group, scores in groups.items():
        first = scores[labels[0]]
        rates = (f"{scores[label].wer:.2%} {scores[label].cer:.2%}" for label in labels)
        table.add_row(group, f"{first.utterances:,}", f"{first.words:,}", *rates)
    return table


def _rate(value: float, ends: tuple[float, float]) -> str:
    return f"{value:.2%} {100 * ends[0]:.1f}–{100 * ends[1]:.1f}"


def short_names(kept: Sequence[str]) -> str:
    """``layers.0, layers.1, layers.5`` as ``0-1 5``; modules as ``0-3 4:f·cf``, see ``SHORT_NAMES``."""
    layers: dict[int, set[str]] = {}
    for name in kept:
        _, layer, *module = name.split(".")
        layers.setdefault(int(layer), set()).update(module)
    modules = set().union(*layers.values())
    order = next((names for names in MODULES.values() if modules <= set(names)), ())
    patterns = {layer: _initials(layers[layer], order) for layer in sorted(layers)}
    runs = itertools.groupby(enumerate(patterns), key=lambda item: (item[1] - item[0], patterns[item[1]]))
    return " ".join(_run([layer for _, layer in run], pattern) for (_, pattern), run in runs)


def _initials(modules: set[str], order: Sequence[str]) -> str:
    if modules in (set(), set(order)):
        return ""
    return ":" + "".join(name[0] if name in modules else "·" for name in order)


def _run(layers: Sequence[int], pattern: str) -> str:
    numbers = str(layers[0]) if len(layers) == 1 else f"{layers[0]}-{layers[-1]}"
    return numbers + pattern
