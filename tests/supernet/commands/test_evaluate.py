"""Score a finished run again: other splits, sizes, conditions, places and selections."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from supernet import evaluate, train
from supernet.runs.run import Run
from tests.supernet.processes import LEARNING, settings
from tests.tasks.folders import write_folder


def test_evaluating_again_gives_the_same_rates(
    finished: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.main(["runs/finished"])
    out = capsys.readouterr().out
    for row in finished[0].results()["sizes"].values():
        assert f"{row['test']['wer']:.2%}" in out
        assert f"{row['test']['cer']:.2%}" in out
    assert "test WER" in out


def test_one_size_can_be_evaluated_on_another_split(
    finished: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.main(["runs/finished", "--sizes", "2", "--split", "valid"])
    assert "valid WER" in capsys.readouterr().out
    lines = (finished[0].folder / "transcripts" / "valid-2.tsv").read_text().splitlines()
    assert sorted(line.split("\t")[0] for line in lines) == [f"valid-{i}" for i in range(6)]
    assert not (finished[0].folder / "transcripts" / "valid-4.tsv").exists()


def test_error_rates_by_speaker_and_by_length(
    finished: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.main(["runs/finished", "--split", "test,valid", "--by", "length,speaker"])
    out = capsys.readouterr().out
    for split, number in (("valid", 6), ("test", 8)):
        assert f"{split} WER" in out
        for group, name in (("speaker", "sine"), ("length", "0 to 2 s")):
            table = out.split(f"by {group}, {split}")[1].split("└")[0]
            (line,) = (line for line in table.splitlines() if name in line)
            assert line.split("│")[2].strip() == str(number)
    sizes = finished[0].results()["sizes"].values()
    assert all(f"{row['test']['wer']:.2%} {row['test']['cer']:.2%}" in out for row in sizes)


def test_transcripts_come_with_a_page_and_two_trn_files(finished: tuple[Run, str]) -> None:
    folder = finished[0].folder / "transcripts"
    rows = [line.split("\t") for line in (folder / "test-4.tsv").read_text().splitlines()]
    for side, column in (("ref", 1), ("hyp", 2)):
        lines = (folder / f"test-4.{side}.trn").read_text().splitlines()
        assert lines == [" ".join([*row[column].split(), f"(sine-{row[0]})"]) for row in rows]
    html = (folder / "test-4.html").read_text()
    wrong = [id for id, reference, hypothesis in rows if reference.split() != hypothesis.split()]
    assert f"{len(wrong)} of 8 utterances have errors" in html
    assert all(f"<h3>{id} " in html for id in wrong)


def test_another_condition_has_its_own_transcripts(
    finished: tuple[Run, str], here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_folder(tmp_path / "other", test=3)
    before = finished[0].transcripts("test-4")
    evaluate.main(["runs/finished", "--sizes", "4", "--set", f"task.path={other}", "--name", "other"])
    assert "finished, other, test" in capsys.readouterr().out
    assert finished[0].transcripts("test-4") == before
    assert {id for id, _, _ in finished[0].transcripts("test-other-4")} == {"test-0", "test-1", "test-2"}


def test_a_moved_run_can_be_evaluated(
    finished: tuple[Run, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Run(tmp_path / "elsewhere")
    shutil.copytree(finished[0].folder, run.folder)
    monkeypatch.chdir(tmp_path)
    evaluate.main(["elsewhere", "--sizes", "2"])
    assert f"{finished[0].results()['sizes']['2']['test']['wer']:.2%}" in capsys.readouterr().out
    assert run.transcripts("test-2") == finished[0].transcripts("test-2")


def test_the_path_of_a_moved_corpus_can_be_given(
    finished: tuple[Run, str], tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path / "moved")
    shutil.copytree(finished[0].folder, run.folder)
    text = run.config_file.read_text()
    run.config_file.write_text(text.replace(run.config_data()["task"]["path"], "/gone/tones"))
    with pytest.raises(SystemExit):
        evaluate.main([str(run.folder)])
    assert "'/gone/tones'" in capsys.readouterr().err
    evaluate.main([str(run.folder), "--sizes", "2", "--set", f"task.path={tones}"])
    assert run.transcripts("test-2") == finished[0].transcripts("test-2")
    with pytest.raises(SystemExit):  # the corpus of the run still exists, so this would be another one
        evaluate.main([str(finished[0].folder), "--sizes", "2", "--set", f"task.path={tones}"])
    assert "`--set` and `--name` must come together" in capsys.readouterr().err


def test_a_run_can_be_evaluated_on_another_device_than_that_of_its_training(
    finished: tuple[Run, str], here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path / "cuda")
    shutil.copytree(finished[0].folder, run.folder)
    text = run.config_file.read_text()
    assert "device: cpu" in text
    run.config_file.write_text(text.replace("device: cpu", "device: cuda:97"))
    evaluate.main([str(run.folder), "--sizes", "2", "--device", "cpu"])
    assert run.transcripts("test-2") == finished[0].transcripts("test-2")
    train.main([*settings(), *LEARNING, "--out", str(run.folder)])
    assert "test WER" in capsys.readouterr().out, "a finished run must be shown on any device"
    with pytest.raises(SystemExit) as end:
        train.main(["--config", str(run.config_file), "--out", str(tmp_path / "again")])
    assert end.value.code == 2
    message = "error: `device` must be a GPU of this machine, which has "
    assert capsys.readouterr().err.startswith(message)
    assert not (tmp_path / "again").exists()


def test_the_choices_of_a_selection_file_are_evaluated(
    finished: tuple[Run, str], here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    selection = tmp_path / "mine.json"
    selection.write_text(json.dumps({"granularity": "layer", "kept": ["layers.0", "layers.1", "layers.3"]}))
    evaluate.main(["runs/finished", "--selection", str(selection)])
    assert "0-1 3" in capsys.readouterr().out
