"""Selection files, and the choices that commands take from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from supernet.runs.selection_file import Choice, Selection
from supernet.units import Subnet


def subnet(*layers: int) -> Subnet:
    return Subnet("layer", tuple(f"layers.{i}" for i in layers))


GREEDY = Selection(
    "greedy",
    (
        Choice("3", subnet(0, 1, 5), "6", 0.25),
        Choice("6", subnet(0, 1, 2, 3, 4, 5), "6", 0.125),
        Choice("params=50%", subnet(0, 2, 4), "6", 0.5),
        Choice("latency=20ms", subnet(0, 4), "shared"),
    ),
    network="abc",
)


def test_a_saved_selection_is_loaded_unchanged(tmp_path: Path) -> None:
    GREEDY.save(tmp_path / "greedy.json")
    assert Selection.load(tmp_path / "greedy.json") == GREEDY
    assert [path.name for path in tmp_path.iterdir()] == ["greedy.json"]


def test_a_single_subnet_is_a_selection(tmp_path: Path) -> None:
    subnet(0, 3).save(tmp_path / "mine.json")
    found = Selection.load(tmp_path / "mine.json")
    assert found == Selection("mine", (Choice("2", subnet(0, 3)),))
    assert found.network is None


@pytest.mark.parametrize(
    ("asked", "layers"),
    [
        (None, (0, 4)),
        ("3", (0, 1, 5)),
        ("6", (0, 1, 2, 3, 4, 5)),
        ("2", (0, 4)),
        ("params=50%", (0, 2, 4)),
        ("latency=20ms", (0, 4)),
    ],
)
def test_a_choice_is_found_by_budget_or_size(asked: str | None, layers: tuple[int, ...]) -> None:
    assert GREEDY.choice(asked).subnet == subnet(*layers)


def test_a_missing_choice_is_an_error_that_lists_the_others() -> None:
    with pytest.raises(ValueError, match=r"one of 3, 6, params=50%, latency=20ms, .* but is 4 instead"):
        GREEDY.choice("4")


def test_a_size_with_two_choices_is_ambiguous() -> None:
    twins = Selection("x", (Choice("params=1M", subnet(0, 1)), Choice("macs=1G", subnet(0, 2))))
    with pytest.raises(ValueError, match="one of params=1M, macs=1G"):
        twins.choice("2")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"choices": []}', '{"choices": [{"kept": 3}]}', "{"])
def test_other_files_are_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"must"):
        Selection.load(tmp_path / "x.json")


def test_the_file_has_the_documented_keys(tmp_path: Path) -> None:
    GREEDY.save(tmp_path / "x.json")
    data = json.loads((tmp_path / "x.json").read_text())
    assert (data["strategy"], data["network"]) == ("greedy", "abc")
    assert data["choices"][0] == {
        "budget": "3",
        "size": 3,
        "granularity": "layer",
        "kept": ["layers.0", "layers.1", "layers.5"],
        "head": "6",
        "loss": 0.25,
    }
