"""``python -m tasks.prepare``: a manifest folder that a training reads, and a table of what is in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from supernet.console.screen import console
from tasks import prepare
from tests.tasks.corpora import write_flac, write_librispeech, write_tedlium
from tests.tasks.folders import numbers_of_cuts, prepared, write_folder
from tests.tasks.test_conversion import bad_corpus


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "width", 200)
    return tmp_path


def rows(printed: str) -> dict[str, list[str]]:
    """The cells of the tables' rows by the first of them."""
    cells = [
        [cell.strip() for cell in line.strip("│┃ ").split("│")]
        for line in printed.splitlines()
        if "│" in line
    ]
    return {first: others for first, *others in cells}


def complaints(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(SystemExit) as end:
        prepare.main(arguments)
    assert end.value.code == 2
    return capsys.readouterr().err.splitlines()


def test_librispeech_by_parts(capsys: pytest.CaptureFixture[str]) -> None:
    write_librispeech(Path("LibriSpeech"))
    train = "train=[train-clean-100, train-other-500]"
    prepare.main(["librispeech", "--path", "LibriSpeech", "--out", "made", "--set", train])
    table = rows(capsys.readouterr().out)
    assert table["train train-clean-100"] == ["8", "0.00", "2", "16000", "9: ␣'abcdist"]
    assert [table[f"test {name}"][0] for name in ("test-clean", "test-other")] == ["3", "2"]


def test_a_training_reads_what_was_made(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tedlium(Path("TEDLIUM_release2"))
    prepare.main(["tedlium2", "--path", "TEDLIUM_release2", "--out", "made"])
    assert "python -m supernet.train --task made" in capsys.readouterr().out
    task = prepared(here / "made")
    assert sum(len(batch) for batch in task.eval_batches("test", task.tokens())) == 2


def test_twice_is_once(capsys: pytest.CaptureFixture[str]) -> None:
    write_tedlium(Path("corpus"))
    arguments = ["tedlium2", "--path", "corpus", "--out", "made"]
    prepare.main(arguments)
    first, before = capsys.readouterr().out, {f: f.stat().st_mtime_ns for f in Path("made").iterdir()}
    prepare.main(arguments)
    assert capsys.readouterr().out == first
    assert {f: f.stat().st_mtime_ns for f in Path("made").iterdir()} == before


def test_problems_are_counted_by_kind_and_too_many_of_them_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad_corpus(Path("corpus"))
    with pytest.raises(SystemExit, match="2"):
        prepare.main(["corpus/", "--out", "made"])
    captured = capsys.readouterr()
    table = rows(captured.out)
    assert table["missing file"][:3] == ["train", "1", "left out"]
    assert table["zero length"][:3] == ["train", "2", "left out"]
    assert table["sampling rate"][:3] == ["train", "1", "used"]
    assert "all.csv:12" in table["missing file"][3]
    (line,) = captured.err.splitlines()
    assert "10 of 17 utterances of the train split" in line
    assert "made/problems.tsv" in line


def test_the_share_that_may_be_unusable_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    bad_corpus(Path("corpus"))
    prepare.main(["corpus/", "--out", "made", "--set", "max_skipped=0.7"])
    assert numbers_of_cuts(Path("made")) == [7, 4, 3]
    assert capsys.readouterr().err == ""


def test_repaired_audio_needs_a_new_folder(capsys: pytest.CaptureFixture[str]) -> None:
    bad_corpus(Path("corpus"))
    arguments = ["corpus/", "--out", "made", "--set", "max_skipped=0.7"]
    prepare.main(arguments)
    write_flac(Path("corpus/gone.wav"))
    (line,) = complaints(arguments, capsys)
    assert "`--out` must be a new folder, but 'made' is something else or outdated" in line
    shutil.rmtree("made")
    prepare.main(arguments)
    assert "missing file" not in rows(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["librispeech", "--path", "nowhere"], ["`path`", "nowhere", "openslr.org/12"]),
        (["tedlium2"], ["`path`", "TEDLIUM_release2", "openslr.org/19"]),
        (["libri"], ["`task` must be one of", "Did you mean librispeech"]),
        (["manifest"], ["`task.path` must be given"]),
        (["./nowhere"], ["`path` must be a folder of manifests", "nowhere"]),
        (["generated-speech"], ["generated-speech", "made while training"]),
        (["tones/"], ["tones", "--task as it is"]),
        (["tedlium2", "--set", "tran=3"], ["`task.tran` must be a setting that exists"]),
        (["tedlium2", "--set", "train"], ["`--set` must look like a.b=c"]),
        (["corpus/", "--out", "tones"], ["`--out` must be a new folder", "tones"]),
    ],
)
def test_one_clear_line(arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(Path("tones"), 1, 1, 1)
    bad_corpus(Path("corpus"))
    (line,) = complaints([*arguments, *(() if "--out" in arguments else ("--out", "made"))], capsys)
    for word in words:
        assert word in line
    assert not Path("made").exists()
