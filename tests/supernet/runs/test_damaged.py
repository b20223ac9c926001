"""Files of runs that are damaged or malicious: they are treated as data only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from selection import __main__ as select
from selection.measuring.evidence_store import EvidenceStore
from supernet import cut, evaluate, train
from supernet.errors import UserError
from supernet.export.__main__ import main as export
from supernet.latency.__main__ import main as latency
from supernet.runs.run import Run
from supernet.runs.selection_file import Choice, Selection
from tests.supernet.damaging import certain, complaint
from tests.supernet.processes import LEARNING
from tests.supernet.processes import settings as tiny


@pytest.fixture
def folder(here: Path, finished: tuple[Run, str], tmp_path: Path) -> Path:
    """A copy of a finished run, for tests to damage."""
    shutil.copytree(finished[0].folder, tmp_path / "run")
    return tmp_path / "run"


def change(file: Path, *keys: Any, to: Any) -> None:
    data = json.loads(file.read_text())
    place = data
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = to
    file.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("keys", "to", "words"),
    [
        (["format"], 99, "`format` must be 1, but is 99"),
        (["tokens", "kind"], "runes", "`tokens.kind` must be"),
        (["num_layers"], 10**9, "`num_layers` must be less than or equal to"),
        (["model", "dim"], 10**12, "must be a model, but are not"),
        (["model", "dim"], 10**6, "tensor '"),
        (["model", "max_frames"], 10**12, "`model.max_frames` must be less than"),
        (["kept"], ["layers.0"] * 5, ""),
        (["kept"], [f"layers.{i}" for i in range(1000)], "1000 units, but there are"),
        (["tokens", "symbols"], ["<blk>", "a"], "tensor 'heads.shared.weight' must be of shape 2 × 16"),
        (["tokens", "symbols"], ["<blk>", "a", "a"], "must differ from each other"),
        (["model", "no_such"], 1, "`model.no_such` must be a setting that exists"),
    ],
)
def test_a_configuration_is_checked_against_the_tensors_before_a_network_is_built(
    folder: Path, capsys: pytest.CaptureFixture[str], keys: list[Any], to: Any, words: str
) -> None:
    change(folder / "model.json", *keys, to=to)
    assert words in certain(cut.main, [str(folder), "--size", "2", "--out", "cut"], capsys)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_non_finite_weights_are_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str], number: float
) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = sorted(tensors)[3]
    tensors[name].view(-1)[0] = number
    save_file(tensors, folder / "model.safetensors")
    said = certain(cut.main, [str(folder), "--size", "2", "--out", "cut"], capsys)
    assert f"tensor '{name}' must hold finite numbers" in said


def test_a_tensor_of_the_wrong_shape_is_reported_with_both_shapes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["heads.shared.bias"] = torch.zeros(3, 2)
    save_file(tensors, folder / "model.safetensors")
    said = certain(cut.main, [str(folder), "--size", "2", "--out", "cut"], capsys)
    assert "tensor 'heads.shared.bias' must be of shape " in said
    assert "but is of 3 × 2 instead" in said


@pytest.mark.parametrize("keys", [("strategy",), ("choices", 0, "budget")])
@pytest.mark.parametrize("name", ["../../../escape", "/tmp/escape", "..", "\x1b[2J", "[/red]", "a\nb"])
def test_a_selection_cannot_choose_where_files_are_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: tuple[Any, ...], name: str
) -> None:
    pytest.importorskip("onnxscript", reason="needs the export extra")
    subnet = Selection.load(folder / "subnets" / "2.json").choices[0].subnet
    file = tmp_path / "chosen.json"
    Selection("mine", (Choice("2", subnet),)).save(file)
    change(file, *keys, to=name)
    before = sorted(tmp_path.rglob("*"))
    for main, more in ((export, ["--unchecked"]), (evaluate.main, []), (latency, [])):
        said = certain(main, [str(folder), "--selection", str(file), *more], capsys)
        assert "must be letters, digits" in said
        assert "\x1b" not in said
    assert sorted(tmp_path.rglob("*")) == before


def test_a_record_of_exports_cannot_choose_which_files_are_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {"files": [{"file": "../../other.onnx"}], "model": {"kept": [], "provenance": {"budget": "2"}}}
    (folder / "export" / "2").mkdir(parents=True)
    (folder / "export" / "2" / "export.json").write_text(json.dumps(record))
    assert "which is no file beside it" in certain(latency, [str(folder)], capsys)


def test_a_run_cannot_choose_the_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUPERNET_CACHE", str(tmp_path / "mine"))
    data = yaml.safe_load((folder / "config.yaml").read_text())
    data["task"]["cache"] = str(tmp_path / "theirs")
    (folder / "config.yaml").write_text(yaml.safe_dump(data))
    assert complaint(evaluate.main, [str(folder), "--sizes", "2"], capsys) is None
    assert (tmp_path / "mine").is_dir()
    assert not (tmp_path / "theirs").exists()
    told = ["--set", f"task.cache={tmp_path / 'told'}", "--name", "elsewhere"]
    assert complaint(evaluate.main, [str(folder), "--sizes", "2", *told], capsys) is None
    assert (tmp_path / "told").is_dir()


@pytest.mark.parametrize("name", ["transcripts", "results.json", "model.json", "subnets/2.json", "export"])
def test_links_out_of_the_run_are_not_followed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    if (folder / name).exists():
        shutil.move(folder / name, mine / "it")
    (folder / name).symlink_to(mine / "it")
    before = sorted(mine.rglob("*"))
    said = certain(evaluate.main, [str(folder)], capsys)
    assert f"'{folder / name}' must not lead out" in said
    assert sorted(mine.rglob("*")) == before


@pytest.mark.parametrize("text", ["", "a\tb\n", "a\tb\tc\td\n", "\n", "id\tx\ty\n\n"])
def test_invalid_transcripts_are_an_error(folder: Path, text: str) -> None:
    (folder / "transcripts" / "test-2.tsv").write_text(text)
    with pytest.raises(UserError, match=r"test-2\.tsv' must have"):
        Run(folder).transcripts("test-2")


def test_transcripts_may_contain_any_character(folder: Path) -> None:
    rows = [("a\x85b", "one\u2028two", "\x1b[2J"), ("b", "", "")]
    Run(folder).save_transcripts("test-2", rows, ("", ""), "")
    assert Run(folder).transcripts("test-2") == rows


LINES = ["", "x", "[]", "3", "{}", '{"step": null}', '{"step": "a"}', '{"Step": []}', "[" * 10_000]


def test_invalid_lines_of_curves_are_skipped(folder: Path) -> None:
    run = Run(folder)
    before, seconds = run.scores(), run.training_seconds()
    for file in (run.scores_file, folder / "metrics" / "train.jsonl"):
        with file.open("a") as out:
            out.write("\n".join([*LINES, '{"Step": 10000, "Lapse Time": "soon"}', ""]))
    assert run.scores() == before
    assert run.training_seconds() == seconds


def test_a_selection_checks_the_data_of_its_page_before_computing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(folder / "selections", ignore_errors=True)  # from tests that select in the original run
    (folder / "scores.jsonl").write_text('{"step": 2, "phase": "end", "scores": ["a"]}\n')
    assert "scores.jsonl' must be a line of scores, but" in certain(select.main, [str(folder)], capsys)
    assert not (folder / "selections").exists()


@pytest.mark.parametrize("content", [b"x" * 5000, b"SQLite format 3\0" + b"\0" * 84])
def test_a_damaged_evidence_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "evidence.sqlite").write_bytes(content)
    with pytest.raises(UserError, match=r"evidence\.sqlite' must be"):
        EvidenceStore(tmp_path / "evidence.sqlite").fact("a", "b", (None,))


def test_damaged_results_of_a_finished_run_are_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "results.json").write_text('{"sizes": {"2": {}}, "title": "x"}')
    said = certain(train.main, [*tiny(), *LEARNING, "--out", str(folder)], capsys)
    assert "results.json' must be a run's results, but is not: `sizes.2." in said


def test_the_files_of_a_training_are_readable_by_everyone(finished: tuple[Run, str]) -> None:
    files = [path for path in finished[0].folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    for file in files:
        assert file.stat().st_mode & 0o444 == 0o444, file
