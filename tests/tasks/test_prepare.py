"""The command ``prepare``: a manifest folder for training, and a table of its contents."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from supernet.console.option_names import setting_options
from supernet.task import TaskError
from tasks import prepare
from tasks.commands.preview import preview_training
from tasks.manifest import Manifest, ManifestOptions
from tests.tasks.corpora import write_flac, write_librispeech, write_tedlium
from tests.tasks.folders import numbers_of_cuts, prepared, quiet, tone, write_folder, write_wav
from tests.tasks.listing.test_conversion import bad_corpus


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def rows(printed: str) -> dict[str, list[str]]:
    """The cells of all tables' rows, by the first cell of each row."""
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


def test_librispeech_is_summarized_by_part(capsys: pytest.CaptureFixture[str]) -> None:
    write_librispeech(Path("LibriSpeech"))
    train = "train=[train-clean-100, train-other-500]"
    prepare.main(["librispeech", "--path", "LibriSpeech", "--out", "made", "--set", train])
    table = rows(capsys.readouterr().out)
    assert table["train train-clean-100"] == ["8", "0.00", "2", "16000", "9: ␣'abcdist"]
    assert [table[f"test {name}"][0] for name in ("test-clean", "test-other")] == ["3", "2"]


def test_the_prepared_folder_can_be_trained_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tedlium(Path("TEDLIUM_release2"))
    prepare.main(["tedlium2", "--path", "TEDLIUM_release2", "--out", "made"])
    assert "python -m supernet.train --task made" in capsys.readouterr().out
    task = prepared(here / "made")
    assert sum(len(batch) for batch in task.eval_batches("test", task.tokens())) == 2


def test_preparing_again_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    write_tedlium(Path("corpus"))
    arguments = ["tedlium2", "--path", "corpus", "--out", "made"]
    prepare.main(arguments)
    first, before = capsys.readouterr().out, {f: f.stat().st_mtime_ns for f in Path("made").iterdir()}
    prepare.main(arguments)
    assert capsys.readouterr().out == first
    assert {f: f.stat().st_mtime_ns for f in Path("made").iterdir()} == before


def test_problems_are_counted_and_too_many_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    bad_corpus(Path("corpus"))
    with pytest.raises(SystemExit, match="2"):
        prepare.main(["corpus/", "--out", "made"])
    captured = capsys.readouterr()
    table = rows(captured.out)
    assert table["missing file"][:3] == ["train", "1", "left out"]
    assert table["zero length"][:3] == ["train", "2", "left out"]
    assert table["sampling rate"][:3] == ["train", "1", "used"]
    assert re.search(r"missing file, train: \S*all.csv:12", captured.out)
    (line,) = captured.err.splitlines()
    assert "10 of 17 utterances of the train split" in line
    assert "made/problems.tsv" in line


def test_the_tolerated_share_of_unusable_utterances_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    bad_corpus(Path("corpus"))
    prepare.main(["corpus/", "--out", "made", "--set", "max_skipped=0.7"])
    assert numbers_of_cuts(Path("made")) == [7, 4, 3]
    assert capsys.readouterr().err == ""


def hasty_corpus(folder: Path, hasty: int) -> Path:
    """Write ten utterances per split; ``hasty`` of those for training are too short for their texts."""
    lines = []
    for split in ("train", "dev", "test"):
        for i in range(10):
            is_hasty = split == "train" and i < hasty
            write_wav(folder / f"{split}{i}.wav", tone(0.3 if is_hasty else 1.0, 200 + 20 * i))
            lines.append(f"{split}{i}.wav,{'ab' * 6 if is_hasty else 'aab' * 4},{split}")
    (folder / "all.csv").write_text("path,text,split\n" + "\n".join(lines) + "\n")
    return folder


def test_problems_of_training_are_reported_in_the_same_words(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hasty_corpus(here / "corpus", 2)
    with pytest.raises(SystemExit, match="2"):
        prepare.main(["corpus/", "--out", "made"])
    captured = capsys.readouterr()
    assert rows(captured.out)["too short for its text"][:3] == ["train", "2", "left out"]
    (line,) = captured.err.splitlines()
    with pytest.raises(TaskError) as refused:
        prepared(here / "made")
    said = str(refused.value).split(" All of them: ")[0]
    assert "which `task.max_skipped=0.2` allows" in said
    assert "`task.tokens=bpe`" in said
    in_options = setting_options(said)
    assert "`--set task.max_skipped=0.2`" in in_options
    assert line.removeprefix("error: ").split(" All of them: ")[0] == in_options
    listed = (here / "made" / "skipped.tsv").read_text().splitlines()
    assert [row.split("\t")[1].rpartition("/")[2] for row in listed[1:]] == ["train0", "train1"]


@pytest.mark.parametrize("setting", ["task.max_skipped=0.2", "max_skipped=0.2"])
def test_the_setting_in_a_message_solves_the_problem(
    here: Path, capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    hasty_corpus(here / "corpus", 2)
    prepare.main(["corpus/", "--out", "made", "--set", setting])
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "made/problems.tsv and skipped.tsv" in captured.out
    assert len(prepared(here / "made", max_skipped=0.2).skipped()) == 2


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, {"too short for its text": 1}),
        ({"speed_perturb": [0.9, 1.0, 2.0]}, {"too short for its text": 10}),
        ({"max_seconds": 0.9}, {"too long": 9 + 20, "too short for its text": 1}),
        ({"tokens": "words"}, {}),
        ({"tokens": "bpe"}, {}),
        ({"input": "samples"}, {}),
    ],
)
def test_the_preview_lists_what_training_leaves_out(
    here: Path, settings: dict[str, object], found: dict[str, int]
) -> None:
    """For various tokens, speeds, inputs and durations."""
    hasty_corpus(here / "corpus", 1)
    prepare.main(["corpus/", "--out", "made", "--set", "max_skipped=1"])
    options = ManifestOptions.model_validate({"path": here / "made", "max_skipped": 0.99, **settings})
    preview = preview_training(here / "made", options, quiet)
    assert Counter(one.reason.split(":")[0] for one in preview.skipped) == found
    task = Manifest(options)
    with contextlib.suppress(TaskError):
        task.prepare(quiet)
    assert [(one.id, one.reason) for one in task.skipped()] == [(o.id, o.reason) for o in preview.skipped]


def test_errors_on_long_utterances_name_the_setting(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hasty_corpus(here / "corpus", 0)
    with pytest.raises(SystemExit, match="2"):
        prepare.main(["corpus/", "--out", "made", "--set", "max_seconds=0.5"])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all("With `--set task.max_seconds=1` none is too long." in line for line in lines)
    assert not any("max_skipped=1" in line for line in lines), "nothing would be left"
    prepare.main(["corpus/", "--out", "made", "--set", "task.max_seconds=1"])
    assert not Path("made/skipped.tsv").exists()


def test_decoding_can_be_requested_later(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hasty_corpus(here / "corpus", 0)
    broken = write_flac(here / "corpus" / "train3.wav", 1.0)
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 3] + bytes(1000) + content[len(content) // 3 + 1000 :])
    arguments = ["corpus/", "--out", "made", "--set", "max_skipped=0.1"]
    prepare.main(arguments)
    assert "unreadable" not in capsys.readouterr().out
    (here / "made" / "notes").mkdir()
    (here / "made" / "notes" / "mine.txt").write_text("mine")
    for _ in range(2):
        prepare.main([*arguments, "--decode"])
        assert rows(capsys.readouterr().out)["unreadable"][:3] == ["train", "1", "left out"]
    assert (here / "made" / "notes" / "mine.txt").read_text() == "mine"
    before = {file: file.stat().st_mtime_ns for file in Path("made").iterdir()}
    prepare.main(arguments)  # problems found by decoding stay listed
    assert "unreadable" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in Path("made").iterdir()} == before
    assert sorted(file.name for file in here.iterdir() if file.name.startswith(".")) == []


def test_unread_listings_are_noted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hasty_corpus(here / "corpus", 0)
    listed = (here / "corpus" / "all.csv").read_text()
    for name in ("train", "dev", "test"):
        rows_of = [line for line in listed.splitlines() if line.endswith(f",{name}")]
        text = "\n".join(["path,text,split", *rows_of])
        (here / "corpus" / f"{name}.csv").write_text(text)
    prepare.main(["corpus/", "--out", "made"])
    captured = capsys.readouterr()
    assert captured.err == "note: 1 listing is not read: corpus/all.csv\n"
    assert rows(captured.out)["left aside"][:3] == ["train", "1", "not read"]


@pytest.mark.parametrize("content", ["[]", "{}", "", '{"made_from": 1}', "[" * 100_000, '{"made_from": "x"}'])
def test_a_foreign_folder_is_left_alone(content: str, capsys: pytest.CaptureFixture[str]) -> None:
    hasty_corpus(Path("corpus"), 0)
    Path("made").mkdir()
    Path("made/summary.json").write_text(content)
    (line,) = complaints(["corpus/", "--out", "made", "--decode"], capsys)
    assert "`--out` must be a new folder" in line
    assert Path("made/summary.json").read_text() == content


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
        (["an4"], ["`path`", "'an4'", "github.com/cmusphinx/an4"]),
        (["speechocean762"], ["`path`", "'speechocean762'", "openslr.org/101"]),
        (["libri"], ["`task` must be one of", "Did you mean librispeech"]),
        (["manifest"], ["`task.path` must be given"]),
        (["./nowhere"], ["`path` must be a folder of manifests", "nowhere"]),
        (["generated-speech"], ["generated-speech", "made by the training itself"]),
        (["tones/"], ["tones", "--task directly"]),
        (["tedlium2", "--set", "tran=3"], ["`task.tran` must be a setting that exists"]),
        (["tedlium2", "--set", "train"], ["`--set` must look like a.b=c"]),
        (["corpus/", "--out", "tones"], ["`--out` must be a new folder", "tones"]),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(Path("tones"), 1, 1, 1)
    bad_corpus(Path("corpus"))
    (line,) = complaints([*arguments, *(() if "--out" in arguments else ("--out", "made"))], capsys)
    for word in words:
        assert word in line
    assert not Path("made").exists()


def test_the_suggested_training_command_has_the_same_settings(capsys: pytest.CaptureFixture[str]) -> None:
    bad_corpus(Path("corpus"))
    settings = [
        "--set",
        "max_skipped=0.7",
        "--set",
        "task.spec_augment.freq_masks=1",
        "--set",
        "held_out=0.1",
    ]
    prepare.main(["corpus/", "--out", "made", *settings])
    line = next(line for line in capsys.readouterr().out.splitlines() if "supernet.train" in line)
    expected = "--task made --set task.max_skipped=0.7 --set task.spec_augment.freq_masks=1"
    assert line.partition("  #")[0].rstrip().endswith(f"supernet.train {expected}")


def test_a_folder_that_cannot_be_created_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    hasty_corpus(Path("corpus"), 0)
    Path("file").touch()
    Path("dead").symlink_to("nowhere/at/all")
    for out, why in {"file/made": "exists", "file/more/made": "directory", "dead": "a dangling link"}.items():
        (line,) = complaints(["corpus/", "--out", out], capsys)
        assert line.startswith(f"error: `--out` must be a new folder, but '{out}' cannot be made: ")
        assert why in line
        assert "task.cache" not in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_missing_permissions_are_reported_for_the_output_folder(capsys: pytest.CaptureFixture[str]) -> None:
    hasty_corpus(Path("corpus"), 0)
    Path("locked").mkdir(mode=0o500)
    (line,) = complaints(["corpus/", "--out", "locked/made"], capsys)
    assert (
        line
        == "error: `--out` must be a new folder, but 'locked/made' cannot be made: no permission to write."
    )
