"""A page of Markdown from ``python -m pytest tests/benchmarks --benchmark-json FILE``.

Run: ``python -m tests.benchmarks.page FILE``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def lines(data: dict[str, Any]) -> Iterator[str]:
    """One table per test with one row per case; only ratios, because seconds depend on the machine."""
    machine, commit = data["machine_info"], data["commit_info"].get("id", "")[:7]
    processor = machine.get("cpu", {}).get("brand_raw", machine["machine"])
    yield f"Commit {commit}, {processor}, Python {machine['python_version']}."
    by_test: dict[str, list[dict[str, Any]]] = {}
    for benchmark in data["benchmarks"]:
        by_test.setdefault(benchmark["name"].partition("[")[0], []).append(benchmark)
    for test, cases in by_test.items():
        yield from _table(test, cases)


def _table(test: str, cases: list[dict[str, Any]]) -> Iterator[str]:
    names = [key for key, value in cases[0]["extra_info"].items() if isinstance(value, float)]
    yield f"\n### {test.removeprefix('test_').replace('_', ' ')}\n"
    yield "| case | threads | " + " | ".join(names) + " |"
    yield "|---|---|" + "---|" * len(names)
    for case in cases:
        values = " | ".join(_number(case["extra_info"][name]) for name in names)
        label = case["name"].partition("[")[2].rstrip("]")
        yield f"| {label} | {case['extra_info']['threads']} | {values} |"


def _number(value: float) -> str:
    """Two decimals, or three significant digits for small and large numbers."""
    return f"{value:.2f}" if 0.1 <= value < 100 else f"{value:.3g}"


def main() -> None:
    for line in lines(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))):
        print(line)


if __name__ == "__main__":
    main()
