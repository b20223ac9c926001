"""Invalid input gives one clear line per problem and exit status 2, without files or tracebacks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supernet import evaluate
from supernet.train import main
from tests.supernet.processes import settings
from tests.tasks.folders import write_folder


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder for commands, in which all files that they write can be found."""

    def train(*args: object) -> None:
        raise AssertionError("bad input has come as far as training")

    monkeypatch.setattr("supernet.engine.train", train)
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def files() -> set[Path]:
    return set(Path.cwd().rglob("*"))


def complaints(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The messages of a command that writes nothing and ends with status 2."""
    before = files()
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    lines = captured.err.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    assert files() == before
    return lines


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sizes", "0"], ["`sizes", "greater than or equal to 1", "0"]),
        (["--sizes", "-3"], ["`sizes", "-3"]),
        (["--sizes", "13", "--preset", "small"], ["`sizes` must be at most 12", "13"]),
        (["--sizes", "6,6"], ["`sizes` must differ", "[6, 6]"]),
        (["--sizes", ""], ["`--sizes` must not be empty"]),
        (["--sizes", ","], ["`sizes` must name at least one size"]),
        (["--sizes", "1.5"], ["`sizes", "1.5"]),
        (["--sizes", "6,7", "--granularity", "module"], ["multiple of 4", "7"]),
        (["--granularity", "head"], ["`granularity`", "head"]),
        (
            ["--method", "simple-topk"],
            ["`method` must be one of", "simple-topk", "Did you mean simple-top-k?"],
        ),
        (["--task", "digit"], ["`task` must be one of", "digit", "Did you mean digits?"]),
        (["--preset", "smal"], ["`preset` must be one of", "smal", "Did you mean small?"]),
        (["--set", "model.dmi=3"], ["`model.dmi` must be a setting that exists", "Did you mean dim?"]),
        (["--set", "trian.lr=3"], ["`trian` must be a setting that exists", "train"]),
        (["--set", "method.score_lerning=0.1"], ["`method.score_lerning`", "score_learning"]),
        (["--set", "task.batch_second=10"], ["`task.batch_second`", "batch_seconds"]),
        (["--set", "model.dim"], ["`--set` must look like a.b=c", "model.dim"]),
        (["--set", "=3"], ["`--set` must look like a.b=c", "=3"]),
        (["--set", "a..b=3"], ["`--set` must look like a.b=c", "a..b=3"]),
        (["--set", "model.dim=[3"], ["model.dim"]),
        (["--set", "model=3"], ["`model`", "3"]),
        (["--set", "method.reduce_by=0"], ["`method.reduce_by`", "0"]),
        (["--set", "model.kernel=4"], ["`model.kernel` must be odd", "4"]),
        (["--set", "model.chunk_frames=[9,8]"], ["`model.chunk_frames` must not descend", "[9, 8]"]),
        (["--set", "model.chunk_frames=[0,8]"], ["`model.chunk_frames", "0"]),
        (
            ["--set", "model.streaming=true", "--set", "model.positions=sinusoidal"],
            ["`model.positions` must be relative or none with `model.streaming`", "sinusoidal"],
        ),
        (["--set", "model.dim=50"], ["`model.dim` must be even and a multiple", "50"]),
        (["--set", "train.validate_every=60"], ["`train.validate_every` must be a multiple", "60"]),
        (["--set", "passes.shares={6: 1}"], ["`passes.shares` must name the sizes [6, 9, 12]", "[6]"]),
        (
            ["--set", "task.max_seconds=121"],
            ["`task.max_seconds` must fit `model.max_frames`", "3000", "121"],
        ),
        (["--set", "model.max_frames=256"], ["`task.max_seconds` must fit `model.max_frames`", "256"]),
        (["--steps", "none"], ["`train.num_steps`", "none"]),
        (["--steps", "0"], ["`train.num_steps`", "0"]),
        (["--seed", "x"], ["`seed`", "x"]),
        (["--config", "gone.yaml"], ["`--config` must be a file", "there is no such file: 'gone.yaml'"]),
        (["--config", "."], ["`--config` must be a file of settings, but '.' is a folder"]),
        (
            ["--method", "individual", "--set", "method.kept=[layers.0]", "--sizes", "2"],
            ["must name 2 units", "1"],
        ),
        (["--method", "iterative-zero-out", "--set", "method.iterations=99"], ["`method.iterations`", "99"]),
        (["--task", "digits"], ["`task.path` must be given"]),
        (["--task", "./gone"], ["gone", "folder of manifests"]),
        (["--set", "task.tokens=charcters"], ["`task.tokens` must be characters, words,", "'charcters'"]),
        (["--set", "task.vocab_size=80"], ["`task.vocab_size` must go with", "'characters'"]),
        (["--set", "task.noise.probability=0.5"], ["`task.noise.folder` must be given"]),
        (["--set", "task.noise.folder=x", "--set", "task.noise.snr=[9,3]"], ["two ascending", "[9.0, 3.0]"]),
    ],
)
def test_each_problem_is_one_clear_line(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = complaints(arguments, capsys)
    for word in words:
        assert word in line


def test_each_invalid_size_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    lines = complaints(["--sizes", "a,b"], capsys)
    assert len(lines) == 2
    assert "'a'" in lines[0]
    assert "'b'" in lines[1]


def test_all_problems_are_reported_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = complaints(
        [
            "--method",
            "magic",
            "--task",
            "digits",
            "--sizes",
            "0",
            "--set",
            "model.dmi=3",
            "--set",
            "train.lr=-1",
        ],
        capsys,
    )
    for words in ("magic", "`task.path`", "`sizes", "`model.dmi`", "`train.lr`"):
        assert sum(words in line for line in lines) == 1, words
    assert len(lines) == 5


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2", "just words", "\x00"])
def test_an_invalid_configuration_file_is_an_error(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.yaml").write_text(text)
    (line,) = complaints(["--config", "bad.yaml"], capsys)
    assert "bad.yaml" in line


def test_a_configuration_file_in_another_encoding_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.yaml").write_bytes("seed: 1 # für".encode("latin-1"))
    (line,) = complaints(["--config", "bad.yaml"], capsys)
    assert "bad.yaml" in line


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_an_empty_split_is_an_error(split: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(Path("tones"), **{"train": 3, "valid": 1, "test": 1, split: 0})
    (line,) = complaints(settings(), capsys)
    assert f"{split}.jsonl.gz` must hold utterances, but is empty" in line


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            "task.noise.folder=gone",
            "`task.noise.folder` must be a folder, but there is no such folder: 'gone'",
        ),
        ("task.reverb.folder=tones/empty", "`task.reverb.folder` must hold recordings"),
        (
            "task.tokens=gone.model",
            "`tokens` must be a file of tokens, but there is no such file: 'gone.model'",
        ),
        ("task={tokens: bpe, vocab_size: 99}", "`vocab_size` must be at most"),
    ],
)
def test_invalid_tokens_and_acoustics_are_errors(
    setting: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (write_folder(Path("tones"), 3, 1, 1) / "empty").mkdir()
    (line,) = complaints([*settings(), "--set", setting], capsys)
    assert words in line


def test_a_folder_without_manifests_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    Path("tones").mkdir()
    (line,) = complaints(settings(), capsys)
    assert "must hold Lhotse's cuts" in line


def test_a_folder_that_cannot_be_created_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(Path("tones"), 3, 1, 1)
    Path("taken").write_text("a file, not a folder")
    (line,) = complaints([*settings(), "--out", "taken/run"], capsys)
    assert "taken" in line
    (line,) = complaints([*settings(), "--out", "taken"], capsys)
    assert "taken" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_read_only_folder_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(Path("tones"), 3, 1, 1)
    Path("locked").mkdir(mode=0o500)
    (line,) = complaints([*settings(), "--out", "locked/run"], capsys)
    assert "locked" in line
    assert "must be writable" in line


def test_evaluating_a_damaged_run_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(Path("tones"), 3, 1, 1)
    Path("run").mkdir()
    cases = {
        "a: [": "must be YAML",
        "- 1": "must hold a mapping",
        "{task: {name: manifest, path: tones}, sizes: [2, 4]}": "must be a model",
    }
    for config, words in cases.items():
        Path("run/config.yaml").write_text(config)
        Path("run/model.json").write_text("{}")
        with pytest.raises(SystemExit) as end:
            evaluate.main(["run"])
        assert end.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
