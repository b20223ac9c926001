"""Every table fits into 80 columns, even with long names and large numbers, without breaking words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from selection.commands.worth import Alone, Bill, bill_table, reach_table
from selection.reporting.tables import table as choices_table
from selection.reporting.tables import units_table
from selection.study.reporting.compare_report import cost_table, error_table
from selection.study.reporting.tune_report import table as trials_table
from supernet.commands.export import _add_rows
from supernet.commands.export import _table as export_table
from supernet.commands.latency import _table as latency_table
from supernet.console.fitted import Fitted
from supernet.console.screen import Screen
from supernet.console.tables import groups_table, results_table
from supernet.export.acceptance import FileCheck
from supernet.latency.measure import MEMORY_AT, SECONDS
from supernet.runs.run import Run
from supernet.scoring.error_rates import Score, score
from supernet.system.files import write_json
from tasks.commands.prepare import summary_table
from tests.selection import made_up
from tests.selection.study.test_regime_outcome import outcome

LONG = "generated-speech-hard-iterative-zero-out-module-16-32-48-seed12"
MODULES = [f"layers.{i}.{m}" for i in range(12) for m in ("ffn1", "self_attn", "conv", "ffn2")]
SOME = [unit for i, unit in enumerate(MODULES) if i % 3]
FOUND = score(["one two three"] * 3000, ["one two tree"] * 3000)


def results() -> dict[str, Any]:
    rates = {"wer": 0.12345, "wer_ci95": (0.101, 0.155), "cer": 0.0823, "cer_ci95": (0.075, 0.104)}
    test = rates | {"words": 123_456, "utterances": 1234}
    row = {"kept": SOME, "params": 123_456_789, "macs": 98_765_432_101, "rtf": 0.12345, "test": test}
    return {
        "title": f"{LONG} (1,234 utterances skipped, see skipped.tsv), chosen by evolution, test",
        "sizes": {"latency=20ms": row, "params=50%": row, "macs=1.2G": row},
        "unit_steps": 123_456_789,
        "steps": 150_000,
    }


def groups() -> dict[str, dict[str, Score]]:
    labels = ("latency=20ms", "params=50%", "macs=1.2G", "6", "12", "24", "48")
    return {who: dict.fromkeys(labels, FOUND) for who in ("F_speaker_0123_of_the_north", "15 to 20 s")}


def latency() -> dict[str, Any]:
    lengths = [f"rtf_{length}s" for length in SECONDS]
    costs = {"file_mb": 1234.56, f"memory_mb_{MEMORY_AT}s": 12345.0, "load_s": 12.345}
    costs |= dict.fromkeys(lengths, 0.12345)
    ratios = dict.fromkeys(lengths, 12.34)
    row = {"label": "params=50%", "runtime": "onnxruntime, int8", "costs": costs, "ratios": ratios}
    return {
        "title": LONG,
        "machine": "AMD EPYC 9V74 80-Core Processor of a very long name",
        "threads": 16,
        "compared_with": {"label": "latency=20ms", "size": 12, "runtime": "PyTorch"},
        "rows": [row],
        "busy": True,
    }


def exports(folder: Path) -> Fitted:
    table = export_table(Run(folder / LONG), True)
    found = FileCheck("model.int8.onnx", 123_456_789, True, 1.2e-5, 0.0, 0.1234, 0.1111, 1234)
    _add_rows(table, "latency=20ms", [found])
    return table


def reach(folder: Path) -> Iterator[Fitted]:
    run = Run(folder / LONG)
    run.folder.mkdir()
    with_sizes = results() | {"sizes": {"12": results()["sizes"]["params=50%"]}}
    write_json(run.results_file, with_sizes)
    yield reach_table(run, [Alone(LONG, 12, 150_000, 123_456_789.0, 0.12345, -0.0123, (-0.0201, -0.0034))])
    yield bill_table(run, [Bill((6, 9, 12, 24, 36, 48), 123_456_789.0, 987_654_321.0, None)])


def trials() -> Fitted:
    study = optuna.create_study(study_name=LONG)
    names = ("train.lr", "passes.intermediate_weight", "method.score_learning", "passes.smallest_first")
    space: dict[str, Any] = {name: optuna.distributions.FloatDistribution(0, 1) for name in names}
    rates = {"6": 0.1234, "9": 0.1123, "12": 0.1012}
    for value in (0.123456, 0.234567):
        notes = {"valid": rates, "test": rates}
        trial = optuna.trial.create_trial(
            value=value, params=dict.fromkeys(names, 0.012345), distributions=space, user_attrs=notes
        )
        study.add_trial(trial)
    return trials_table(study, ["wer"])


def prepared() -> Fitted:
    row = {
        "split": "train", "part": "train-other-500-of-the-north", "utterances": 1_234_567, "hours": 12345.67,
        "speakers": 123_456, "rates": {"8000": 123_456, "16000": 234_567, "44100": 1}, "characters": "".join(
            map(chr, range(0x4E00, 0x5000))
        ),
    }  # fmt: skip
    return summary_table({"rows": [row]}, f"a/long/path/to/{LONG}/{LONG}")


def all_tables(folder: Path) -> Iterator[Fitted]:
    yield results_table(results())
    yield groups_table(f"by speaker of {LONG}", "speaker", groups())
    yield latency_table(latency())
    yield exports(folder)
    yield from reach(folder)
    yield trials()
    yield prepared()
    for made in (made_up.layers(), made_up.modules()):
        yield choices_table(replace(made, run=LONG))
        yield units_table(replace(made, run=LONG))
    compared = outcome([{2: 21, 4: 11}] * 3, [{2: 80, 4: 12}] * 3)
    yield error_table(compared)
    yield cost_table(compared)


def drawn(table: Fitted, width: int, encoding: str = "utf-8") -> list[str]:
    screen = Screen(width=width)
    with screen.capture() as captured:
        screen.print(table)
    return captured.get().splitlines()


def words_in(table: Fitted) -> set[str]:
    cells = (cell for section in table._sections for row in section for cell in row)
    return {word for cell in cells for word in cell.split()}


@pytest.mark.parametrize("width", [80, 60])
def test_every_table_fits_without_breaking_words(tmp_path: Path, width: int) -> None:
    tables = list(all_tables(tmp_path))
    assert len(tables) == 14
    for table in tables:
        lines = drawn(table, width)
        assert max(map(len, lines)) <= width, "\n".join(lines)
        text = " ".join(lines)
        for word in words_in(table):
            if width == 80 and len(word) <= 12 and not _given_up(table, word):
                assert re.search(rf"(?<![\w.]){re.escape(word)}(?![\w.])", text), (word, "\n".join(lines))


def _given_up(table: Fitted, word: str) -> bool:
    """Whether ``word`` occurs only in columns that are dropped on a narrow console."""
    return all(
        column.lesser
        for section in table._sections
        for row in section
        for cell, column in zip(row, table._columns, strict=True)
        if word in cell.split()
    )


CELL = st.text(st.sampled_from("abc-/. 019中\n"), max_size=40)


@given(st.integers(1, 9), st.data(), st.integers(30, 120))
def test_any_table_fits(number: int, data: st.DataObject, width: int) -> None:
    table = Fitted(data.draw(CELL), data.draw(CELL), boxed=data.draw(st.booleans()))
    for _ in range(number):
        table.add_column(
            data.draw(CELL), left=data.draw(st.booleans()), wraps=True, lesser=data.draw(st.booleans())
        )
    for _ in range(data.draw(st.integers(0, 4))):
        table.add_row(*(data.draw(CELL) for _ in range(number)))
    screen = Screen(width=width)
    with screen.capture() as captured:
        screen.print(table)
    assert all(cell_len(line) <= width for line in captured.get().splitlines())


def test_columns_that_do_not_fit_continue_below() -> None:
    table = Fitted("t")
    for i in range(12):
        table.add_column(f"column{i}")
    table.add_row("key", *(f"{10**8 + i:,}" for i in range(11)))
    lines = drawn(table, 80)
    assert max(map(len, lines)) <= 80
    assert sum("key" in line for line in lines) >= 2
    assert all(f"{10**8 + i:,}" in " ".join(lines) for i in range(11))


def test_less_important_columns_are_dropped_first() -> None:
    table = Fitted()
    table.add_column("key")
    table.add_column("long", wraps=True)
    table.add_column("lesser", lesser=True)
    table.add_row("1", "x" * 60, "y" * 20)
    assert "lesser" in " ".join(drawn(table, 100))
    assert "lesser" not in " ".join(drawn(table, 80))
