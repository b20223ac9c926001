"""Stored comparisons of earlier selections."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from selection.comparing.earlier import stored
from supernet.runs.run import RunError
from tests.selection import made_up


def test_a_stored_comparison_is_read_unchanged(tmp_path: Path) -> None:
    found, path = replace(made_up.layers(), network="abc", busy=True), tmp_path / "comparison.json"
    path.write_text(json.dumps(found.as_data()), encoding="utf-8")
    assert stored(path, "abc") == found
    assert stored(path, "other") is None
    assert stored(tmp_path / "nothing.json", "abc") is None


def test_a_comparison_of_an_older_version_is_ignored(tmp_path: Path) -> None:
    """Its error rates have other names; a selection starts anew without asking the user to move the file."""
    data, path = made_up.layers().as_data(), tmp_path / "comparison.json"
    data |= {"network": "abc", "full_wer": data.pop("full_rate")}
    for contest in data["contests"]:
        for row in contest["rows"]:
            row |= {"wer_ci95": row.pop("rate_ci95")}
            del row["rate"], row["over"]
    path.write_text(json.dumps(data), encoding="utf-8")
    assert stored(path, "abc") is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"full_wer": 1}', '{"network": "abc"'])
def test_a_file_that_is_not_a_comparison_is_an_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "comparison.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match="must be a comparison of choices, but is not"):
        stored(path, "abc")
