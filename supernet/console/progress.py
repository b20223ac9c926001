"""Progress of slow work: bars on a terminal, occasional lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from supernet.console.screen import Screen, console
from supernet.console.text import is_quiet, put
from supernet.system.processes import is_main_process
from supernet.text.plain import plain

LINE_SECONDS, SHARE_SECONDS, SHARE = 30.0, 5.0, 0.1
"""Without a terminal, a line is written after ``LINE_SECONDS``, or after ``SHARE_SECONDS`` if another
``SHARE`` of the work is done.
"""


class ProgressDisplay:
    """A display of progress, called like a ``ProgressCallback``; this one displays nothing."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Update the progress of ``what``; ``total`` is 0 if it is unknown."""

    def tell(self, text: str) -> None:
        """Describe the state of the current work."""


class Bars(ProgressDisplay):
    """A bar for each kind of work, and a status line below them."""

    def __init__(self, bars: _Bars) -> None:
        self._bars = bars
        self._known: dict[str, Any] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in self._known:
            self._known[what] = self._bars.add_task(plain(what), total=total or None)
        self._bars.update(self._known[what], completed=done, total=total or None)

    def tell(self, text: str) -> None:
        self._bars.status = text


class _Bars(Progress):
    status = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self.status:
            yield self.console.render_str(self.status, overflow="ellipsis")


class Lines(ProgressDisplay):
    """Occasional lines on standard error, none for work that finishes quickly."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._status = ""
        self._last: dict[str, tuple[float, int]] = {}
        """For each kind of work, the time of its last line, and the amount done then."""
        self._begun: dict[str, tuple[float, int]] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        now = self._clock()
        begun = self._begun.setdefault(what, (now, done))
        then, before = self._last.setdefault(what, begun)
        much = total > 0 and done - before >= SHARE * total and now - then >= SHARE_SECONDS
        if much or (now - then >= LINE_SECONDS and done > before):
            self._last[what] = now, done
            put(plain(_line(what, done, total, begun, now, self._status)) + "\n", sys.stderr)

    def tell(self, text: str) -> None:
        self._status = text


def _line(what: str, done: int, total: int, begun: tuple[float, int], now: float, status: str) -> str:
    if not total:
        return f"{what}: {done:,}"
    start, first = begun
    left = (now - start) / max(1, done - first) * (total - done)
    parts = [f"{what}: {done:,} of {total:,} ({done / total:.0%})", f"{duration(left)} left" * (done < total)]
    return ", ".join(part for part in (*parts, status) if part)


def duration(seconds: float) -> str:
    """``50 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def progress(screen: Screen = console) -> Iterator[ProgressDisplay]:
    """Show progress on the first process: bars on ``screen`` or standard error, whichever is a terminal."""
    if is_quiet() or not is_main_process():
        yield ProgressDisplay()
        return
    # Output printed meanwhile goes where it should: redirected output contains no bars.
    where = screen if screen.is_terminal else Screen(stderr=True)
    if not where.is_terminal:
        yield Lines()
        return
    columns = (
        TextColumn("{task.description:<18}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with _Bars(*columns, console=where, transient=True, redirect_stdout=where is screen) as bars:
        yield Bars(bars)
