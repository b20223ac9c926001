"""Cut models of a finished run, and files that no command overwrites."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from selection.worth import main as worth
from supernet import cut, evaluate
from supernet.export.__main__ import main as export
from supernet.runs import model_file
from supernet.runs.run import Run


def test_a_cut_model_has_the_same_outputs(finished: tuple[Run, str], here: Path, tmp_path: Path) -> None:
    cut.main(["runs/finished", "--size", "2", "--out", str(tmp_path / "small")])
    assert sorted(p.name for p in (tmp_path / "small").iterdir()) == [
        "README.md",
        "model.json",
        "model.safetensors",
        "tokens.txt",
    ]
    small, whole = model_file.load(tmp_path / "small" / "model"), model_file.load(finished[0].model_stem)
    features = torch.randn(1, 120, 80)
    kept = whole.recognizer.table.kept(finished[0].subnets()["2"])
    expected = whole.recognizer.log_probs(features, [120], kept)
    actual = small.recognizer.log_probs(features, [120], small.recognizer.table.full)
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-6)
    assert small.tokens == whole.tokens


def test_the_name_of_a_run_does_not_depend_on_the_working_folder(
    finished: tuple[Run, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished[0].folder)
    assert Run(Path()).name == "finished"
    assert Run(Path()).beside("x").resolve() == Run(finished[0].folder.resolve()).beside("x")
    assert Run(Path("runs/a")).beside("x") == Path("runs/a-x")
    worth(["."])
    printed = capsys.readouterr().out
    assert printed.startswith("finished: ")
    assert "--out ../finished-alone-2-" in printed


def test_an_empty_configuration_is_an_error(
    finished: tuple[Run, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = Path(shutil.copytree(finished[0].folder, tmp_path / "mine"))
    for content in ("", "null\n", "{}\n", "# nothing\n"):
        (mine / "config.yaml").write_text(content)
        with pytest.raises(SystemExit) as end:
            evaluate.main([str(mine)])
        assert end.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith("config.yaml' must hold the settings of a run, but is empty.")


def test_no_output_overwrites_a_run(
    finished: tuple[Run, str], here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(finished[0].folder, mine)
    before = {file: file.read_bytes() for file in mine.rglob("*") if file.is_file()}
    for main, options in ((cut.main, []), (export, ["--force"])):
        with pytest.raises(SystemExit) as end:
            main([str(mine), "--size", "2", "--out", str(mine), *options])
        assert end.value.code == 2
        assert "--out" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in mine.rglob("*") if file.is_file()} == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(SystemExit):
        cut.main([str(mine), "--out", str(tmp_path / "file")])
    assert "`--out` must be a folder, but" in capsys.readouterr().err
