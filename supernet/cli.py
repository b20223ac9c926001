"""What the command lines share: clear ends, progress, and the table of results."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator, Mapping
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

from supernet.batch import Report, TaskError
from supernet.checkpoint import Model
from supernet.resolve import ConfigError
from supernet.run import Run, RunError
from supernet.units import Subnet

console = Console()


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
    except (ConfigError, RunError, TaskError) as e:
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


def choose_subnet(run: Run, model: Model, size: int | None, selection: Path | None) -> tuple[int, Subnet]:
    """The subnet a command line asks for: a selection file's, or the run's own of ``size`` (default: the
    smallest).
    """
    if selection is not None:
        subnet = load_selection(selection, size)
        check_fits(model, subnet)
        return subnet.size, subnet
    subnets = run.subnets()
    if not subnets:
        raise RunError(f"`RUN` must have been trained to the end, but '{run.folder}' has no subnets yet.")
    size = min(subnets) if size is None else size
    if size not in subnets:
        raise RunError(f"`--size` must be one of {', '.join(map(str, subnets))}, but is {size} instead.")
    return size, subnets[size]


def load_selection(path: Path, size: int | None) -> Subnet:
    """A subnet file, checked against ``size`` if one was asked for."""
    try:
        subnet = Subnet.load(path)
    except (OSError, ValueError) as e:
        raise RunError(f"`--selection` must be a subnet file, but '{path}' is not: {e}") from None
    if size is not None and subnet.size != size:
        raise RunError(
            f"`--selection` must keep {size} units, as --size says, but keeps {subnet.size} instead."
        )
    return subnet


def check_fits(model: Model, subnet: Subnet) -> None:
    try:
        model.recogniser.table.kept(subnet)
    except ValueError as e:
        raise RunError(str(e)) from None


@contextlib.contextmanager
def progress() -> Iterator[Report]:
    """A progress bar per kind of work, on the first process only."""
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not is_main_process()) as bars:
        known: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in known:
                known[what] = bars.add_task(what, total=total or None)
            bars.update(known[what], completed=done, total=total or None)

        yield report


def results_table(results: Mapping[str, Any], split: str = "test") -> Table:
    """Sizes in rows, with error rates and what they cost."""
    table = Table(title=results.get("title"), title_justify="left", padding=(0, 1, 0, 0))
    for name in ("size", "kept", "params", "MACs", f"{split} WER, 95 %", "CER, 95 %", "RTF"):
        table.add_column(name, justify="left" if name == "kept" else "right", overflow="fold")
    for size, row in sorted(results["sizes"].items(), key=lambda item: int(item[0])):
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


def _rate(value: float, ends: tuple[float, float]) -> str:
    return f"{value:.2%} {100 * ends[0]:.1f}–{100 * ends[1]:.1f}"


def short_names(kept: list[str]) -> str:
    """``layers.0, layers.1, layers.5`` as ``0-1 5``; modules by layer, as ``0:ffn1,conv``."""
    layers: dict[int, list[str]] = {}
    for name in kept:
        _, layer, *module = name.split(".")
        layers.setdefault(int(layer), []).extend(module)
    if any(layers.values()):
        return " ".join(f"{layer}:{','.join(modules)}" for layer, modules in layers.items())
    return _ranges(sorted(layers))


def _ranges(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for n in numbers:
        if runs and n == runs[-1][-1] + 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return " ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)
