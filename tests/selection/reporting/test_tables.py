"""The console table on a synthetic comparison."""

from __future__ import annotations

from dataclasses import replace

import pytest

from selection.comparing.comparison import Comparison
from selection.reporting.report import sentences
from selection.reporting.tables import latency_lines, table, verdict
from supernet.console.screen import Screen
from supernet.text.unit_names import short_names
from tests.selection import made_up


def console_text(comparison: Comparison) -> str:
    console = Screen(width=120)
    with console.capture() as captured:
        console.print(table(comparison))
    return captured.get()


@pytest.fixture(scope="module")
def layers() -> Comparison:
    return made_up.layers()


@pytest.fixture(scope="module")
def printed(layers: Comparison) -> str:
    return console_text(layers)


def test_names_in_brackets_are_not_console_markup(layers: Comparison) -> None:
    contest = layers.contests[0]
    odd = replace(layers, contests=(replace(contest, rows=(replace(contest.rows[0], strategy="[red]x"),)),))
    assert "[red]x" in console_text(odd)


def test_the_console_table_contains_every_choice(layers: Comparison, printed: str) -> None:
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 120
    for contest in layers.contests:
        for row in contest.rows:
            parts = row.strategy, short_names(row.kept), f"{row.loss:.4f}", verdict(contest, row)
            assert any(all(part in line for part in parts) for line in lines), parts


def test_the_table_and_the_sentences_name_the_error_rate(layers: Comparison, printed: str) -> None:
    contests = tuple(replace(contest, measure="cer") for contest in layers.contests)
    unspaced = replace(layers, contests=contests, measure="cer")
    for text, here, elsewhere in ((printed, "WER", "CER"), (console_text(unspaced), "CER", "WER")):
        assert here in text
        assert elsewhere not in text
    assert "test CER" in " ".join(sentences(contests[1]))


def test_the_console_table_is_sorted_by_budget_and_loss(layers: Comparison, printed: str) -> None:
    lines = [line for line in printed.splitlines() if "–" in line]
    starts = [i for i, line in enumerate(lines) if not line.startswith(" ")]
    assert [lines[i].split()[0] for i in starts] == [contest.budget for contest in layers.contests]
    losses = [
        float(next(word for word in line.split() if word.count(".") == 1 and len(word) == 6))
        for line in lines
    ]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        assert losses[start:end] == sorted(losses[start:end])


def test_short_names_group_modules_by_layer() -> None:
    units = [f"layers.{i}.{m}" for i in range(4) for m in ("ffn1", "self_attn", "conv", "ffn2")]
    kept = [unit for unit in units if unit not in ("layers.2.conv", "layers.3.conv")]
    assert short_names(kept) == "0-1 2-3:fs·f"
    assert short_names([unit for unit in kept if ".1." not in unit]) == "0 2-3:fs·f"
    assert short_names(["layers.1.conv"]) == "1:··c·"
    assert short_names(["layers.0.self_attn", "layers.0.ffn", "layers.1.ffn"]) == "0 1:·f"
    assert short_names(["layers.0", "layers.2", "layers.3", "layers.11"]) == "0 2-3 11"
    parts = ["layers.0.mlp.0", "layers.0.mlp.1", "layers.0.mix", "layers.1.mlp.1", "layers.1.mix"]
    assert short_names(parts) == "0:m2m 1:m1m", "units of other encoders must be in order"
    heads = ["layers.0.self_attn.0", "layers.0.self_attn.3", "layers.0.conv", "layers.0.ffn2.1"]
    assert short_names([*heads, "layers.1.conv"]) == "0:·s2cf1 1:··c·"


def test_a_narrow_console_shows_the_most_important_columns(layers: Comparison) -> None:
    console = Screen(width=80)
    with console.capture() as captured:
        console.print(table(layers))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 80
    for row in layers.contests[0].rows:
        parts = row.strategy, f"{row.loss:.4f}", f"{row.regret:.4f}", f"{100 * row.wer:.2f}"
        assert any(all(part in line for part in parts) for line in lines), parts


def test_a_single_choice_is_compared_with_nothing(layers: Comparison) -> None:
    alone = replace(layers.contests[0], rows=layers.contests[0].rows[:1])
    assert "best" not in console_text(replace(layers, contests=(alone,))).replace("against best", "")


def test_modules_fit_into_the_console() -> None:
    comparison = made_up.modules()
    printed = console_text(comparison)
    assert max(map(len, printed.splitlines())) <= 120
    assert "initials of the modules" in printed
    for row in comparison.contests[0].rows:
        first = short_names(row.kept).split()[0]
        assert any(row.strategy in line and first in line for line in printed.splitlines())


def test_measured_latency_is_compared_with_the_sum_of_units(layers: Comparison) -> None:
    timed = replace(
        layers, latency_error={"latency=20ms": {"greedy": (0.018, 0.020), "tail": (0.021, 0.020)}}
    )
    first, second = latency_lines(timed)
    assert first == (
        "latency=20ms, greedy: 18.00 ms as the sum of its units, 20.00 ms as a whole (-10.0%), "
        "for 10 s of audio on Intel Xeon, 1 thread"
    )
    assert "(+5.0%)" in second
    assert latency_lines(replace(layers, latency_error={})) == []
