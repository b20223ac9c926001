"""The summary of a manifest folder: utterances, hours, speakers and so on of each split."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supernet.errors import UserError
from supernet.system.files import read_json
from supernet.task import SPLITS, Split

FILE = "summary.json"


@dataclass
class Part:
    """One row of the summary: a split, or a part of it."""

    utterances: int = 0
    seconds: float = 0.0
    speakers: set[str] = field(default_factory=set)
    rates: Counter[int] = field(default_factory=Counter)
    """Number of utterances by sampling rate."""
    characters: set[str] = field(default_factory=set)

    def add(self, seconds: float, rate: int, text: str, speaker: str | None) -> None:
        self.utterances += 1
        self.seconds += seconds
        self.rates[rate] += 1
        self.characters.update(text)
        if speaker is not None:
            self.speakers.add(speaker)

    def as_json(self) -> dict[str, Any]:
        return {
            "utterances": self.utterances,
            "hours": round(self.seconds / 3600, 4),
            "speakers": len(self.speakers),
            "rates": {str(rate): number for rate, number in sorted(self.rates.items())},
            "characters": "".join(sorted(self.characters)),
        }


class Summary:
    """Rows by split and part, parts in order of first occurrence."""

    def __init__(self) -> None:
        self.parts: dict[tuple[Split, str], Part] = {}

    def part(self, split: Split, name: str) -> Part:
        return self.parts.setdefault((split, name), Part())

    def save(
        self, folder: Path, made_from: str, problems: Counter[tuple[Split, Any]], decoded: bool = False
    ) -> None:
        in_order = sorted(self.parts.items(), key=lambda item: SPLITS.index(item[0][0]))
        rows = [{"split": split, "part": name, **part.as_json()} for (split, name), part in in_order]
        counts = [{"split": s, "kind": kind, "number": n} for (s, kind), n in sorted(problems.items())]
        content = {"made_from": made_from, "decoded": decoded, "rows": rows, "problems": counts}
        (folder / FILE).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_summary(folder: Path) -> dict[str, Any] | None:
    """Read a summary that ``Summary.save`` wrote; None if there is none."""
    try:
        content = read_json(folder / FILE)
    except UserError:
        return None
    kinds = {"made_from": str, "rows": list, "problems": list}
    return content if all(isinstance(content.get(name), kind) for name, kind in kinds.items()) else None
