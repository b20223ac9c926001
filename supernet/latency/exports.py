"""The graphs of exports as subjects of a measurement, and the fastest of each size. Imports no torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from supernet.latency.measure import Subject
from supernet.runtime.fastest import SECONDS, Times, choose, save_fastest
from supernet.runtime.precision import FULL, Precision, is_wrong
from supernet.runtime.record import RECORD, graphs_of
from supernet.system.folders import check_closed


def exports_in(folder: Path) -> list[Path]:
    """The exports at ``folder`` and directly below.

    Raises:
        UserError: There are some, and something leads out of the folder.
    """
    found = sorted(record.parent for record in (*folder.glob(RECORD), *folder.glob(f"*/{RECORD}")))
    if found:
        check_closed(folder)
    return found


def subjects_of(exports: Iterable[Path], bundles: bool = True) -> list[Subject]:
    """Each size of ``exports`` in each precision, as far as they are for onnxruntime.

    Args:
        exports: The folders of exports.
        bundles: Whether to measure those of several sizes as well.

    Raises:
        UserError: One of them is no export.
    """
    return [
        Subject(graph.budget, graph.size, graph.file, graph.precision, graph.kept, graph.difference)
        for folder in exports
        for graph in graphs_of(folder)
        if bundles or not graph.is_bundled
    ]


def times_by_export(subjects: Sequence[Subject], rows: Iterable[Mapping[str, Any]]) -> dict[Path, Times]:
    """Milliseconds for ``SECONDS`` of audio by the folders of exports, without wrong files."""
    found: dict[Path, dict[str, dict[Precision, float]]] = defaultdict(lambda: defaultdict(dict))
    for subject, row in zip(subjects, rows, strict=True):
        if subject.precision is not None and not _is_wrong(subject, row):
            milliseconds = 1000 * SECONDS * row["costs"][f"rtf_{SECONDS}s"]
            found[subject.file.parent][subject.label][subject.precision] = milliseconds
    return {folder: {label: dict(times) for label, times in sizes.items()} for folder, sizes in found.items()}


def _is_wrong(subject: Subject, row: Mapping[str, Any]) -> bool:
    if subject.difference is None or subject.precision == FULL:
        return False
    return is_wrong(row["difference"], subject.difference)


def wrong_ones(subjects: Sequence[Subject], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each file that is wrong here."""
    return [
        f"'{subject.file}' must not be used here: its log-probabilities for size {subject.label} differ by "
        f"{row['difference']:.3g} from those in float32, where it was exported by {subject.difference:.2g}. "
        "Another release of onnxruntime may compute it right."
        for subject, row in zip(subjects, rows, strict=True)
        if _is_wrong(subject, row)
    ]


def save_fastest_of(times: Mapping[Path, Times], threads: int, is_busy: bool) -> None:
    """Record the fastest precision of each size in the exports that were measured."""
    for folder, sizes in times.items():
        save_fastest(folder, sizes, threads, is_busy)


def in_order(subjects: Iterable[Subject]) -> list[Subject]:
    """The largest size first, in PyTorch before ONNX."""
    return sorted(subjects, key=lambda s: (-s.size, s.label, s.runtime))


def fastest_words(times: Mapping[Path, Times]) -> str:
    """A sentence that names the fastest precision of each size; empty without exports."""
    found = [
        f"{folder.name if len(sizes) == 1 else f'{folder.name} {label}'}: {precision}"
        for folder, sizes in times.items()
        for label, precision in choose(sizes).items()
    ]
    return f"Fastest for {SECONDS} s of audio: {', '.join(found)}." if found else ""
