"""Several runs in one picture: the best sizes for their costs, and wrong arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernet import pareto
from supernet.reporting.pareto_picture import Point, draw_pareto, frontier, points_of
from supernet.runs.run import Run

RATES = {"macs=30%": (0.3, 2.0, 0.12), "macs=50%": (0.5, 4.0, 0.08), "macs=100%": (1.0, 5.0, 0.05)}
"""Of each budget: MACs (G), RTF (in thousandths), WER."""


def write(folder: Path, granularity: str, better: float = 0.0, **changes: Any) -> Path:
    """A finished run, as far as this command reads it."""
    folder.mkdir()
    (folder / "config.yaml").write_text(f"granularity: {granularity}\n")
    sizes = {}
    for name, (macs, rtf, wer) in RATES.items():
        rate = wer - better
        test = {
            "wer": rate, "cer": rate / 2, "wer_ci95": [rate - 0.01, rate + 0.01], "cer_ci95": [0.0, 0.1],
            "words": 900, "utterances": 100, **changes,
        }  # fmt: skip
        cost = {"params": 10, "macs": round(macs * 1e9), "rtf": rtf / 1e3}
        sizes[name] = {"kept": ["layers.0"], **cost, "test": test}
    (folder / "results.json").write_text(json.dumps({"sizes": sizes, "title": folder.name}))
    return folder


def point(cost: float, rate: float) -> Point:
    return Point("a", "layer", "6", cost * 1e9, cost, rate, (rate, rate), "wer", (1, 1))


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=12, unique=True))
def test_the_frontier_is_all_that_is_not_dominated(pairs: list[tuple[int, int]]) -> None:
    found = {(p.milliseconds, p.rate) for p in frontier([point(*pair) for pair in pairs], "milliseconds")}
    expected = {(c, r) for c, r in pairs if not any(d <= c and s <= r and (d, s) != (c, r) for d, s in pairs)}
    assert found == expected


def test_runs_are_overlaid_by_granularity_and_the_best_are_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "one", "layer")
    write(tmp_path / "two", "component", better=0.02)
    monkeypatch.chdir(tmp_path)
    pareto.main(["one", "two", "--out", "picture.png"])
    printed = capsys.readouterr().out
    assert printed.count("MACs, ms") == 3, "all sizes of the better run"
    assert "6.00% 5.0–7.0" in printed
    assert "2.00" in printed
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    points = points_of(Run(Path("one")), "one") + points_of(Run(Path("two")), "two")
    root = ElementTree.fromstring(draw_pareto(points).svg)
    texts = {"".join(element.itertext()) for element in root.iter("text")}
    assert {
        "layers",
        "components",
        "Test WER of 2 runs against MACs and time (★: best for its cost)",
        "MACs for 10 s of audio (G)",
    } <= texts
    assert {"computation for 1 s of audio (ms)", "test WER (95 % interval)", "macs=30%"} <= texts


def test_runs_of_one_granularity_or_name_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for parent in ("a", "b"):
        (tmp_path / parent).mkdir()
        write(tmp_path / parent / "run", "module")
    monkeypatch.chdir(tmp_path)
    pareto.main(["a/run", "b/run"])
    assert Path("pareto.png").is_file()


def test_all_problems_are_reported_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "good", "layer")
    write(tmp_path / "damaged", "layer")
    (tmp_path / "damaged" / "results.json").write_text("{}")
    unfinished = write(tmp_path / "unfinished", "layer")
    (unfinished / "results.json").unlink()
    write(tmp_path / "other", "layer", words=1)
    monkeypatch.chdir(tmp_path)
    cases = {
        ("nowhere", "good", "nothing"): ["no such folder: 'nowhere'", "no such folder: 'nothing'"],
        ("good", "damaged", "unfinished", "--out", "x.gif"): [
            "'damaged/results.json'",
            "unfinished",
            "NAME.png",
        ],
        ("good", "other"): ["same utterances, but 'good' and 'other' were not"],
    }
    for words, expected in cases.items():
        with pytest.raises(SystemExit) as end:
            pareto.main(list(words))
        assert end.value.code == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == len(expected), lines
        for line, part in zip(lines, expected, strict=True):
            assert line.startswith("error: ")
            assert part in line
    assert not list(tmp_path.glob("*.png"))
