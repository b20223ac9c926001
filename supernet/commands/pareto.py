"""Compare the sizes of several runs by error rate, MACs and time."""

from __future__ import annotations

import argparse

from supernet.console.fitted import Fitted
from supernet.console.screen import console
from supernet.console.text import say
from supernet.errors import Checks
from supernet.reporting.pareto_picture import Point, draw_pareto, frontier, points_of
from supernet.runs.run import Run, RunError
from supernet.system.files import refusal, write_whole
from supernet.system.timing import BUSY


def pareto(args: argparse.Namespace) -> None:
    """Run the command ``pareto``."""
    points = _read(args)
    console.print(_table(points))
    write_whole(args.out, draw_pareto(points).png)
    say(f"The picture is {args.out}.")


def _read(args: argparse.Namespace) -> list[Point]:
    """The points of all runs. Raises ``UserError`` for all problems together."""
    checks, points = Checks(), list[Point]()
    names = [Run(folder).name for folder in args.runs]
    for folder, name in zip(args.runs, names, strict=True):
        with checks:
            points += points_of(Run.open(folder), name if names.count(name) == 1 else str(folder))
    with checks:
        if args.out.suffix != ".png" or refusal(args.out.parent, "folder"):
            raise RunError(f"`--out` must be a file NAME.png in a folder, but is '{args.out}' instead.")
    checks.end()
    first = points[0]
    for point in points:
        if point.corpus != first.corpus:
            raise RunError(
                f"`RUN` must be runs that were tested on the same utterances, but '{first.run}' and "
                f"'{point.run}' were not."
            )
    return points


def _table(points: list[Point]) -> Fitted:
    notes = ["★: no other size here has fewer errors for as few MACs, or in as little time."]
    notes += [BUSY] * any(point.is_busy for point in points)
    table = Fitted("Error rates against costs", "\n".join(notes), boxed=True)
    table.add_column("run", left=True, wraps=True)
    for name in (
        "units",
        "size",
        "MACs",
        "ms for 1\u00a0s",
        f"test {points[0].measure.upper()}, 95\u00a0%",
        "★",
    ):
        table.add_column(name, left=name in ("units", "★"), wraps=name.endswith("%"))
    best = {axis: frontier(points, axis) for axis in ("macs", "milliseconds")}
    for point in points:
        low, high = (100 * end for end in point.interval)
        stars = [name for axis, name in (("macs", "MACs"), ("milliseconds", "ms")) if point in best[axis]]
        table.add_row(
            point.run,
            point.granularity,
            point.size,
            f"{point.macs / 1e9:.2f} G",
            f"{point.milliseconds:.2f}",
            f"{point.rate:.2%} {low:.1f}–{high:.1f}",
            ", ".join(stars),
        )
    return table
