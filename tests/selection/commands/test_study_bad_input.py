"""``python -m selection.study`` rejects invalid input with clear messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from selection.study.__main__ import main
from selection.study.storage import create, open_storage

pytestmark = pytest.mark.usefixtures("at_desk")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["compare", "--config", "none.yaml"], ["there is no such file: 'none.yaml'"]),
        (["compare", "--config", "compare.yaml", "--seeds", "a"], ["`seeds.0`"]),
        (["compare", "--config", "compare.yaml", "--grace", "1"], ["`--grace` must be at least 4, but is 1"]),
        (["tune", "--config", "tune.yaml", "--trials", "0"], ["`--trials` must be at least 1"]),
        (["tune", "--config", "tune.yaml", "--method", "magic"], ["`method` must be one of"]),
        (["tune", "--config", "tune.yaml", "--storage", "nonsense"], ["`--storage` must be reachable"]),
        (
            [
                "tune",
                "--config",
                "tune.yaml",
                "--set",
                "space={train.lr: {low: 7}}",
                "--set",
                "objectives=[x]",
            ],
            ["`space.train.lr` must be a range", "`trials.0` must lie within `space`"],
        ),
        (["compare", "--config", "tune.yaml"], ["`space` must be a setting", "`trials` must be a setting"]),
    ],
)
def test_each_problem_is_one_clear_line(
    command: list[str], expected: list[str], desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--out", "studies/bad"])
    assert ended.value.code == 2
    complaints = capsys.readouterr().err.splitlines()
    assert len(complaints) == len(expected)
    for line, words in zip(complaints, expected, strict=True):
        assert line.startswith("error: ")
        assert words in line
    assert not list(desk.glob("studies/bad/runs/*"))


def test_a_folder_without_a_study_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path)])
    assert ended.value.code == 2
    assert f"`FOLDER` must hold a study, but '{tmp_path}' has no study.db" in capsys.readouterr().err


def test_a_folder_with_another_study_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create(open_storage(None, tmp_path, 4), tmp_path.name, ["minimize"], [], {"kind": "another"})
    with pytest.raises(SystemExit) as ended:
        main(["tune", "--config", "tune.yaml", "--out", str(tmp_path)])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "must be continued with the definition it was created with" in line
    assert line.endswith("Choose another `--out` or `--name`.")
