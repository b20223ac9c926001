"""Tables of results show the error rates that suit the script."""

from __future__ import annotations

import io

import pytest

from supernet.console.fitted import Fitted
from supernet.console.screen import Screen
from supernet.console.tables import groups_table, results_table
from supernet.scoring.error_rates import Score, score

SPACED = score(["one two", "three"], ["one two", "tree"])
UNSPACED = score(["今天天气很好", "我们去公园"], ["今天天气很坏", "我们去公园"])


def printed(table: Fitted) -> str:
    console = Screen(width=160)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def results(found: Score) -> dict[str, object]:
    row = {"kept": ["layers.0"], "params": 1e6, "macs": 1e9, "rtf": 0.01, "test": found.as_json()}
    return {"title": "x", "sizes": {"1": row}}


@pytest.mark.parametrize(("found", "names"), [(SPACED, ["WER", "CER"]), (UNSPACED, ["CER"])])
def test_word_error_rates_are_omitted_in_scripts_without_spaces(found: Score, names: list[str]) -> None:
    for text in (
        printed(results_table(results(found))),
        printed(groups_table("by", "who", {"a": {"1": found}})),
    ):
        assert [name for name in ("WER", "CER") if name in text] == names
        assert f"{found.cer:.2%}" in text
        assert (f"{found.wer:.2%}" in text) == ("WER" in names)


def test_a_note_is_shown_only_with_its_column() -> None:
    drawn = Fitted("a table")
    drawn.add_column("first")
    drawn.add_column("second", lesser=True, note="second: a wide column")
    drawn.add_row("x" * 10, "y" * 30)
    wide, narrow = io.StringIO(), io.StringIO()
    Screen(file=wide, width=80).print(drawn)
    Screen(file=narrow, width=20).print(drawn)
    assert "second: a wide column." in wide.getvalue()
    assert "second" not in narrow.getvalue()
