"""Tables of results on the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supernet.console.fitted import Fitted
from supernet.scoring.error_rates import Measure, Score, judged_by
from supernet.system.timing import BUSY
from supernet.text.unit_names import SHORT_NAMES, short_names


def results_table(results: Mapping[str, Any], split: str = "test") -> Fitted:
    """Error rates and costs, one row per size (or budget of a selection)."""
    rows = results["sizes"].values()
    notes = [SHORT_NAMES] * any(":" in short_names(row["kept"]) for row in rows)
    notes += [f"RTF: {BUSY[0].lower()}{BUSY[1:]}"] * any(row.get("rtf_busy") for row in rows)
    table = Fitted(results.get("title"), "\n".join(notes), boxed=True)
    measures = _measures(judged_by(results))
    rates = [f"{split} {measures[0].upper()}", *(m.upper() for m in measures[1:])]
    table.add_column("size")
    table.add_column("kept", left=True, wraps=True)
    for name in ("params", "MACs", *(f"{name}, 95\u00a0%" for name in rates), "RTF"):
        table.add_column(name, wraps=name.endswith("%"))
    for size, row in sorted(results["sizes"].items(), key=lambda item: len(item[1]["kept"])):
        s = row[split]
        table.add_row(
            size,
            short_names(row["kept"]),
            f"{row['params'] / 1e6:.2f} M",
            f"{row['macs'] / 1e9:.2f} G",
            *(_rate(s[m], s[f"{m}_ci95"]) for m in measures),
            f"{row['rtf']:.4f}",
        )
    return table


def groups_table(title: str, what: str, groups: Mapping[str, Mapping[str, Score]]) -> Fitted:
    """Error rates of each size, one row per group of utterances."""
    table = Fitted(title, boxed=True)
    labels = list(next(iter(groups.values())))
    table.add_column(what, left=True, wraps=True)
    measures = _measures(next(iter(groups.values()))[labels[0]].measure)
    names = ", ".join(m.upper() for m in measures)
    for name in ("utterances", "words", *(f"{label}: {names}" for label in labels)):
        table.add_column(name, wraps=":" in name)
    for group, scores in groups.items():
        first = scores[labels[0]]
        rates = (" ".join(f"{getattr(scores[label], m):.2%}" for m in measures) for label in labels)
        table.add_row(group, f"{first.utterances:,}", f"{first.words:,}", *rates)
    return table


def _measures(measure: Measure) -> list[Measure]:
    """The error rates to show: there is no WER for text without word boundaries."""
    return ["wer", "cer"] if measure == "wer" else ["cer"]


def _rate(value: float, ends: tuple[float, float]) -> str:
    return f"{value:.2%} {100 * ends[0]:.1f}–{100 * ends[1]:.1f}"
