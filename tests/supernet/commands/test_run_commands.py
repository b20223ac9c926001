"""What is done with a finished run: score it again, transcribe files, cut a size out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from selection.worth import main as worth
from supernet import cut, evaluate, train, transcribe
from supernet.console.screen import console
from supernet.export.__main__ import main as export
from supernet.runs import checkpoint
from supernet.runs.run import Run
from tests.supernet.processes import LEARNING, environment, run, settings
from tests.tasks.folders import tone, write_folder


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    monkeypatch.setattr(console, "width", 200)
    return place


def test_evaluating_again_gives_the_same_rates(
    finished: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.main(["runs/finished"])
    out = capsys.readouterr().out
    for row in finished[0].results()["sizes"].values():
        assert f"{row['test']['wer']:.2%}" in out
        assert f"{row['test']['cer']:.2%}" in out
    assert "test WER" in out


def test_one_size_on_another_split(
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


def test_transcripts_come_with_a_page_and_a_trn_pair(finished: tuple[Run, str]) -> None:
    folder = finished[0].folder / "transcripts"
    rows = [line.split("\t") for line in (folder / "test-4.tsv").read_text().splitlines()]
    for side, column in (("ref", 1), ("hyp", 2)):
        lines = (folder / f"test-4.{side}.trn").read_text().splitlines()
        assert lines == [" ".join([*row[column].split(), f"(sine-{row[0]})"]) for row in rows]
    html = (folder / "test-4.html").read_text()
    wrong = [id for id, reference, hypothesis in rows if reference.split() != hypothesis.split()]
    assert f"{len(wrong)} of 8 utterances have errors" in html
    assert all(f"<h3>{id} " in html for id in wrong)


def test_another_condition_has_transcripts_of_its_own(
    finished: tuple[Run, str], here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_folder(tmp_path / "other", test=3)
    before = finished[0].transcripts("test-4")
    evaluate.main(["runs/finished", "--sizes", "4", "--set", f"task.path={other}", "--name", "other"])
    assert "finished, other, test" in capsys.readouterr().out
    assert finished[0].transcripts("test-4") == before
    assert {id for id, _, _ in finished[0].transcripts("test-other-4")} == {"test-0", "test-1", "test-2"}


def test_a_run_is_scored_from_anywhere(
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


def test_a_corpus_that_has_moved_is_named_anew(
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
    with pytest.raises(SystemExit):  # another corpus, where the old one is in its place
        evaluate.main([str(finished[0].folder), "--sizes", "2", "--set", f"task.path={tones}"])
    assert "`--set` and `--name` must come together" in capsys.readouterr().err


def test_the_device_of_the_training_does_not_matter(
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
    assert "test WER" in capsys.readouterr().out, "a finished run is shown, whatever it was trained on"
    with pytest.raises(SystemExit) as end:
        train.main(["--config", str(run.config_file), "--out", str(tmp_path / "again")])
    assert end.value.code == 2
    message = "error: `device` must be a GPU of this machine, which has "
    assert capsys.readouterr().err.startswith(message)
    assert not (tmp_path / "again").exists()


def test_a_selection_file_is_scored(
    finished: tuple[Run, str], here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    selection = tmp_path / "mine.json"
    selection.write_text(json.dumps({"granularity": "layer", "kept": ["layers.0", "layers.1", "layers.3"]}))
    evaluate.main(["runs/finished", "--selection", str(selection)])
    assert "0-1 3" in capsys.readouterr().out


def test_a_cut_out_model_writes_the_same(finished: tuple[Run, str], here: Path, tmp_path: Path) -> None:
    cut.main(["runs/finished", "--size", "2", "--out", str(tmp_path / "small")])
    assert sorted(p.name for p in (tmp_path / "small").iterdir()) == [
        "model.json",
        "model.safetensors",
        "tokens.txt",
    ]
    small, whole = checkpoint.load(tmp_path / "small" / "model"), checkpoint.load(finished[0].model_stem)
    features = torch.randn(1, 120, 80)
    kept = whole.recognizer.table.kept(finished[0].subnets()["2"])
    expected = whole.recognizer.log_probs(features, [120], kept)
    actual = small.recognizer.log_probs(features, [120], small.recognizer.table.full)
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-6)
    assert small.tokens == whole.tokens


def audio_files(folder: Path) -> list[Path]:
    """The same tone in every disguise."""
    files = []
    for name, rate, channels in (("a.wav", 16_000, 1), ("b.wav", 8_000, 2), ("c.flac", 44_100, 1)):
        samples = np.stack([tone(1.0, rate=rate)] * channels, axis=1)
        soundfile.write(folder / name, samples, rate)
        files.append(folder / name)
    return files


def test_a_run_has_a_name_wherever_one_stands(
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


def test_an_empty_configuration_is_not_that_of_generated_speech(
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


def test_what_is_written_never_takes_the_place_of_a_run(
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


def test_any_audio_file_is_transcribed_and_a_broken_one_is_named(
    finished: tuple[Run, str], place: Path, tmp_path: Path
) -> None:
    files, broken = audio_files(tmp_path), tmp_path / "broken.wav"
    broken.write_bytes(files[0].read_bytes()[:30])
    out, err = run("supernet.transcribe", "runs/finished", "--size", "4", broken, *files, cwd=place, status=1)
    lines = [line.split("\t") for line in out.splitlines()]
    assert [name for name, _ in lines] == [str(file) for file in files]
    assert len({text for _, text in lines}) == 1
    complaints = [line for line in err.splitlines() if line.startswith("error:")]
    assert complaints[0].startswith(f"error: '{broken}' must be readable audio, but is not: ")
    assert complaints[1:] == ["error: 1 of 4 recordings could not be read."]
    assert "Traceback" not in err


def test_what_comes_through_pipes_is_transcribed_like_a_file(
    finished: tuple[Run, str], place: Path, tmp_path: Path
) -> None:
    """Standard input, a named pipe and a process substitution, in one command."""
    audio, transcribe = audio_files(tmp_path)[2], f"{sys.executable} -m supernet.transcribe"
    os.mkfifo(tmp_path / "pipe")
    command = (
        f"cat {audio} > {tmp_path}/pipe & "
        f"cat {audio} | {transcribe} runs/finished --size 4 - {tmp_path}/pipe <(cat {audio}) {audio}"
    )
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=place,
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    names, texts = zip(*(line.split("\t") for line in done.stdout.splitlines()), strict=True)
    assert (names[0], names[1], names[3]) == ("-", f"{tmp_path}/pipe", str(audio))
    assert len(set(texts)) == 1


def test_nothing_on_standard_input_is_said_to_be_nothing(
    finished: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        with pytest.raises(SystemExit) as end:
            transcribe.main(["runs/finished", "-"])
    assert end.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: 'standard input' must be readable audio, but is not: it is empty."


@pytest.mark.parametrize("position", [5000, 330_000])
def test_samples_too_large_for_features_are_an_error(
    finished: tuple[Run, str], here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], position: int
) -> None:
    """Also in a later chunk of the recording; the others are transcribed as without it."""
    samples = tone(25.0)
    samples[position] = 1e25
    soundfile.write(tmp_path / "loud.wav", samples, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "good.wav", tone(1.0), 16_000)
    files = [str(tmp_path / name) for name in ("good.wav", "loud.wav", "good.wav")]
    with pytest.raises(SystemExit) as end:
        transcribe.main(["runs/finished", *files])
    assert end.value.code == 1
    captured = capsys.readouterr()
    assert (
        "loud.wav' must be readable audio, but is not: the output for samples of up to 1e+25 is"
        in captured.err
    )
    first, second = captured.out.splitlines()
    assert first == second


def test_a_name_that_is_no_utf8_leaves_the_others_alone(
    finished: tuple[Run, str], here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio_files(tmp_path)
    (tmp_path / "b.wav").rename(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    (tmp_path / "empty.wav").touch()
    for form in ("text", "jsonl"):
        with pytest.raises(SystemExit) as end:
            transcribe.main(["runs/finished", str(tmp_path), "--size", "4", "--format", form])
        assert end.value.code == 1
        captured = capsys.readouterr()
        lines = captured.out.splitlines()
        texts = [line.split("\t")[1] if form == "text" else json.loads(line)["text"] for line in lines]
        assert len(texts) == 3
        assert len(set(texts)) == 1
        assert "caf" in captured.out
        assert "empty.wav' must be readable audio, but is not" in captured.err
    with pytest.raises(SystemExit):
        transcribe.main(["runs/finished", str(tmp_path), "--size", "4", "--out", str(tmp_path / "out")])
    assert len(list((tmp_path / "out").iterdir())) == 3


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
            "`--out` must get recordings of different names",
        ),
        (
            transcribe.main,
            ["runs/finished", "runs"],
            "must be audio or a folder with some, but 'runs' has none",
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
def test_wrong_arguments_get_one_clear_line(
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
