"""Wrong arguments of commands on finished runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from supernet import cut, evaluate, transcribe
from supernet.runs.run import Run


@pytest.mark.parametrize(
    ("main", "arguments", "words"),
    [
        (
            evaluate.main,
            ["runs/finished", "--sizes", "3"],
            "`--sizes` must be one of 2, 4, the budgets there are, but is 3",
        ),
        (evaluate.main, ["runs/finished", "--sizes", "x"], "`--sizes` must be one of 2, 4"),
        (evaluate.main, ["runs/nowhere"], "`RUN` must be a run folder"),
        (
            evaluate.main,
            ["runs/finished", "--split", "test,dev"],
            "`--split` must be some of train, valid, test, but has 'dev' instead",
        ),
        (
            evaluate.main,
            ["runs/finished", "--by", "age", "--split", "dev", "--sizes", "3", "--lm-weight", "2"],
            "`--by` must be some of speaker, length, but has 'age' instead|`--split` must be some of|"
            "`--lm-weight` must come with --lm|`--sizes` must be one of 2, 4",
        ),
        (
            evaluate.main,
            ["runs/finished", "--by", "age"],
            "`--by` must be some of speaker, length, but has 'age' instead",
        ),
        (
            evaluate.main,
            ["runs/finished", "--set", "task.path=x"],
            "`--set` and `--name` must come together, but one is missing",
        ),
        (
            evaluate.main,
            ["runs/finished", "--set", "train.lr=1", "--name", "x"],
            "`--set` must be a setting of the task, such as task.path, but sets 'train'",
        ),
        (
            evaluate.main,
            ["runs/finished", "--set", "task.eval_noise.folder=none", "--name", "../x"],
            "starting with a letter or digit, but is '../x'",
        ),
        (
            evaluate.main,
            ["runs/finished", "--set", "task.eval_noise.folder=none", "--name", "x"],
            "`task.eval_noise.folder` must be a folder, but there is no such folder: 'none'",
        ),
        (
            evaluate.main,
            ["runs/finished", "--selection", "gone.json"],
            "`--selection` must be a subnet or a selection, but there is no such file: 'gone.json'",
        ),
        (
            transcribe.main,
            ["runs/nowhere", "a.wav"],
            "`RUN` must be a run folder, but there is no such folder: 'runs/nowhere'",
        ),
        (
            transcribe.main,
            ["runs/finished", "--size", "9", "a.wav"],
            "`--size` must be one of 2, 4, the budgets there are, but is 9",
        ),
        (
            transcribe.main,
            ["runs/finished", "a.wav", "--batch", "0"],
            "`--batch` must be at least 1, but is 0",
        ),
        (
            transcribe.main,
            ["runs/finished", "a.wav", "--format", "doc"],
            "`--format` must be one of text, jsonl, srt, vtt, but is 'doc'",
        ),
        (
            transcribe.main,
            ["runs/finished", "a.wav", "b.wav", "--format", "srt"],
            "`--out` must name a folder for the srt files of 2 recordings",
        ),
        (
            transcribe.main,
            ["runs/finished", "a.wav", "b/a.flac", "--out", "x"],
            "`--out` must be given recordings with different names",
        ),
        (
            transcribe.main,
            ["runs/finished", "runs"],
            "must be an audio file or a folder of them, but 'runs' has none",
        ),
        (
            transcribe.main,
            ["runs/finished", "a.wav", "--beam", "0"],
            "`--beam` must be at least 1",
        ),
        (
            transcribe.main,
            ["runs/finished", "a.wav", "--lm", "gone"],
            "`--lm` must be a readable file, but there is no such file: 'gone'",
        ),
        (
            transcribe.main,
            ["runs/finished", "a.wav", "--lm-weight", "1"],
            "`--lm-weight` must come with --lm",
        ),
        (
            evaluate.main,
            ["runs/finished", "--beam", "0"],
            "`--beam` must be at least 1",
        ),
        (
            evaluate.main,
            ["runs/finished", "--lm", "runs/finished/model.json"],
            "must be an ARPA file if no",
        ),
        (
            cut.main,
            ["runs/finished", "--size", "1", "--out", "x"],
            "`--size` must be one of 2, 4, the budgets there are, but is 1",
        ),
        (
            cut.main,
            ["runs/finished", "--selection", "tones", "--out", "x"],
            "`--selection` must be a subnet or a selection",
        ),
    ],
)
def test_wrong_arguments_are_one_clear_line(
    finished: tuple[Run, str],
    here: Path,
    capsys: pytest.CaptureFixture[str],
    main: object,
    arguments: list[str],
    words: str,
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)  # type: ignore[operator]
    assert end.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(words.split("|"))
    assert all(part in line for part, line in zip(words.split("|"), lines, strict=True))
    assert not (here / "x").exists()
