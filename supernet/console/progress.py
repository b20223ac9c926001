"""Progress of slow work: bars on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from supernet.batch import Report
from supernet.console.screen import Screen, console
from supernet.console.text import is_main_process, plain


@contextlib.contextmanager
def progress() -> Iterator[Report]:
    """A progress bar per kind of work, on the first process and where a terminal shows it."""
    columns = (
        TextColumn("{task.description:<18}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # What is printed meanwhile goes where it should: redirected output is left alone, without a bar in it.
    where = console if console.is_terminal else Screen(stderr=True)
    shown = where.is_terminal and is_main_process()
    with Progress(
        *columns, console=where, transient=True, redirect_stdout=where is console, disable=not shown
    ) as bars:
        known: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in known:
                known[what] = bars.add_task(plain(what), total=total or None)
            bars.update(known[what], completed=done, total=total or None)

        yield report
