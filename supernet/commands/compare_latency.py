"""Print the figures that several devices measured side by side."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from supernet.console.fitted import Fitted
from supernet.console.screen import console
from supernet.errors import ArgumentError, Checks
from supernet.runs.records import LatencyRecord, checked
from supernet.runtime.fastest import SECONDS
from supernet.system.files import read_json
from supernet.system.timing import BUSY

COST = f"rtf_{SECONDS}s"
Key = tuple[str, str]
"""The size and the runtime of a row."""


def compare(args: argparse.Namespace) -> None:
    """Run the command ``latency`` with ``compare``."""
    values = {"folder": args.run} | {
        name: getattr(args, name) for name in ("preset", "export", "selection", "out")
    }
    given = [name for name, value in values.items() if value]
    if given:
        raise ArgumentError(
            ["compare", *given],
            *(f"`compare` must be given without `{name}`, which measures." for name in given),
        )
    records, checks = dict[str, LatencyRecord](), Checks()
    for name, file in zip(_names(args.compare), args.compare, strict=True):
        with checks:
            records[name] = checked(LatencyRecord, read_json(file), file)
    checks.end()
    console.print(comparison_table(records))


def _names(files: Sequence[Path]) -> list[str]:
    """Short names of files: without their folders where these names differ."""
    stems = [file.stem for file in files]
    return stems if len({*stems}) == len(stems) else [str(file.with_suffix("")) for file in files]


def comparison_table(records: Mapping[str, LatencyRecord]) -> Fitted:
    """The milliseconds of each size in each runtime, the least of each size on each device marked."""
    times = {name: _times(record) for name, record in records.items()}
    legend = [
        f"{name}: {record.machine}, {record.threads} thread{'' if record.threads == 1 else 's'}"
        + f". {BUSY}" * record.busy
        for name, record in records.items()
    ]
    caption = f"Milliseconds for {SECONDS} s of audio; * the fastest of a size.\n" + "\n".join(legend)
    table = Fitted("Latency by device", caption, boxed=True)
    table.add_column("size")
    table.add_column("runtime", left=True, wraps=True)
    for name in records:
        table.add_column(name, wraps=True)
    for label, runtime in dict.fromkeys(key for found in times.values() for key in found):
        table.add_row(label, runtime, *(_cell(found, (label, runtime)) for found in times.values()))
    return table


def _times(record: LatencyRecord) -> dict[Key, float]:
    return {
        (row.label, row.runtime): 1000 * SECONDS * row.costs[COST] for row in record.rows if COST in row.costs
    }


def _cell(times: Mapping[Key, float], key: Key) -> str:
    if key not in times:
        return "–"
    is_least = times[key] == min(time for (label, _), time in times.items() if label == key[0])
    return f"{times[key]:.1f}{' *' * is_least}"
