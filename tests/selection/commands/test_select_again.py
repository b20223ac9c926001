"""``python -m selection`` on a run with earlier choices, which are kept, replaced, or left out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from selection import __main__ as command
from supernet.runs.run import Run
from supernet.runs.selection_file import Selection
from tests.selection.commands.selecting import QUICK, comparison, count, rows

pytestmark = pytest.mark.slow


def test_choices_for_other_budgets_are_kept(finished: tuple[Run, str], here: Path) -> None:
    shutil.copytree(finished[0].folder, here / "runs" / "more")
    command.main(["runs/more", "--strategies", "tail", "--sizes", "1,2,4", *QUICK])
    command.main(["runs/more", "--strategies", "tail", "--sizes", "3", *QUICK])
    tail = Selection.load(here / "runs" / "more" / "selections" / "tail.json")
    assert [c.budget for c in tail.choices] == ["4", "3", "2", "1"]
    assert [c.subnet.size for c in tail.choices] == [4, 3, 2, 1]


def choices_of(found: Run) -> dict[str, Any]:
    """The comparison without computing times, which depend on the order of the strategies."""
    data = comparison(found)
    for contest in data["contests"]:
        for row in contest["rows"]:
            del row["seconds"]
    return data


def test_selections_can_be_combined_in_any_order(finished: tuple[Run, str], here: Path) -> None:
    asked = [
        ["--strategies", "greedy,exhaustive", "--sizes", "2"],
        ["--strategies", "tail,learned,random", "--sizes", "2,3", "--budget", "params=70%"],
    ]
    found = []
    for name, orders in (("ab", asked), ("ba", asked[::-1])):
        shutil.copytree(finished[0].folder, here / "runs" / name)
        for options in orders:
            command.main([f"runs/{name}", *options, *QUICK])
        found.append(Run(here / "runs" / name))
    first, second = map(choices_of, found)
    assert {**first, "run": ""} == {**second, "run": ""}
    assert {c["budget"]: {row["strategy"] for row in c["rows"]} for c in first["contests"]} == {
        "2": {"greedy", "exhaustive", "tail", "learned", "random"},
        "3": {"tail", "learned", "random"},
        "params=70%": {"tail", "learned", "random"},
    }
    assert all(row["beats"] is not None for row in rows(found[0], "2").values()), "must be exact"
    (contest,) = (c for c in first["contests"] if c["budget"] == "2")
    assert set(contest["pairs"]) == {"greedy", "exhaustive", "tail", "learned", "random"}


def test_only_repeated_choices_are_replaced_and_new_ones_marked(
    finished: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished[0].folder, here / "runs" / "replaced")
    found = Run(here / "runs" / "replaced")
    first = ["--strategies", "learned,tail,greedy,random", "--sizes", "1,2"]
    command.main(["runs/replaced", *first, *QUICK])
    capsys.readouterr()
    before, judged = rows(found, "2"), count(found)
    options = ["--strategies", "greedy,tail", "--sizes", "2,3"]
    command.main(["runs/replaced", *options, *QUICK])
    out = capsys.readouterr().out
    assert rows(found, "2") == before
    assert set(rows(found, "3")) == {"greedy", "tail"}
    assert set(rows(found, "1")) == {"learned", "tail", "greedy", "random"}
    assert out.count(" + ") == 2, "greedy and tail for 3 units"
    assert count(found) - judged <= 4 + 4, "only subnets of three units, on both splits"


def test_choices_that_no_longer_meet_their_budget_are_left_out_with_a_note(
    finished: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished[0].folder, here / "runs" / "costs")
    command.main(["runs/costs", "--strategies", "tail", "--sizes", "2", "--budget", "macs=70%", *QUICK])
    other = ["--utterances", "3", "--frozen-steps", "3", "--seconds", "2"]
    command.main(["runs/costs", "--strategies", "random", "--sizes", "2", *other])
    found = Run(here / "runs" / "costs")
    assert [c["budget"] for c in comparison(found)["contests"]] == ["2"]
    assert {name: row["num_valid"] for name, row in rows(found, "2").items()} == {"tail": 4, "random": 3}
    assert "tail did not choose for macs=70%: its earlier choice was made for other costs" in (
        " ".join(capsys.readouterr().out.split())
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '{"contests": 3}', '{"run": "x"}', "\x00"])
def test_an_invalid_comparison_is_an_error(
    text: str, finished: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished[0].folder, here / "runs" / "odd", dirs_exist_ok=True)
    file = Run(here / "runs" / "odd").comparison_file
    file.write_text(text)
    with pytest.raises(SystemExit) as ended:
        command.main(["runs/odd", "--strategies", "tail", "--sizes", "2", *QUICK])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "comparison.json' must be a comparison of choices, but is not" in line
    assert file.read_text() == text


def test_a_comparison_of_another_network_is_replaced(
    finished: tuple[Run, str], zeroed: tuple[Run, str], here: Path
) -> None:
    for name, (trained, _) in (("mine", finished), ("others", zeroed)):
        shutil.copytree(trained.folder, here / "runs" / name)
    command.main(["runs/mine", "--strategies", "random", "--sizes", "1", *QUICK])
    found = Run(here / "runs" / "others")
    shutil.copy(Run(here / "runs" / "mine").comparison_file, found.comparison_file)
    command.main(["runs/others", "--strategies", "tail", "--sizes", "2", *QUICK])
    assert [c["budget"] for c in comparison(found)["contests"]] == ["2"]
    assert set(rows(found, "2")) == {"tail"}
