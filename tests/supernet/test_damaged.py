"""Files of a run that are damaged, or made by somebody who means harm: data, and nothing else."""

from __future__ import annotations

import contextlib
import copy
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from selection import worth
from selection.measuring.store import Store
from supernet import cut, evaluate, train
from supernet.checkpoint import load
from supernet.console.tables import results_table
from supernet.errors import UserError
from supernet.export.__main__ import main as export
from supernet.latency.__main__ import main as latency
from supernet.resolve import resolve_trained
from supernet.run import Run
from supernet.selections import Choice, Selection
from tests.supernet.processes import LEARNING
from tests.supernet.processes import settings as tiny

Main = Callable[[list[str]], None]

fuzz = settings(derandomize=True, max_examples=60, suppress_health_check=list(HealthCheck))
a_few = settings(fuzz, max_examples=12)


@pytest.fixture
def folder(place: Path, finished: tuple[Run, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run that may be damaged."""
    monkeypatch.chdir(place)
    shutil.copytree(finished[0].folder, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="session")
def whole(finished: tuple[Run, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run without what only continuing needs, which tests put together again."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    shutil.copytree(finished[0].folder, folder, ignore=shutil.ignore_patterns("checkpoints", "tb"))
    network = Selection.load(folder / "subnets" / "2.json")
    (folder / "selections").mkdir(exist_ok=True)
    Selection("greedy", (Choice("params=50%", network.choices[0].subnet, loss=0.5),)).save(
        folder / "selections" / "greedy.json"
    )
    return folder


def complaint(main: Main, arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str | None:
    """What a command says that ends with status 2; None where it does its work."""
    capsys.readouterr()
    status = 0
    try:
        main(list(arguments))
    except SystemExit as end:
        status = int(end.code or 0)
    err = capsys.readouterr().err
    if status == 0:
        return None
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert status == 2, err
    assert 1 <= len(lines) <= 40, err
    assert "Traceback" not in err
    assert all(len(line) < 1000 for line in lines)
    return "\n".join(lines)


def certain(main: Main, arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    said = complaint(main, arguments, capsys)
    assert said is not None, "it must be refused"
    return said


TEXTS = ["", "../../x", "/etc/passwd", "[/red]", "\x1b[2J", "<b>", "\ud800", "pieces", "0", "x" * 300]
NUMBERS = [-1, 0, 99, 10**9, 10**30, 1e308, -1e308, float("nan"), float("inf")]
OTHERS: list[Any] = [None, True, [], {}, [[]], [None], {"": None}, [1, 2], {"a": {"b": []}}, ["layers.0"] * 3]
JUNK = st.one_of(st.sampled_from(TEXTS), st.sampled_from(NUMBERS), st.sampled_from(OTHERS))


def paths(data: Any, so_far: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield so_far
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield from paths(value, (*so_far, key))


@st.composite
def damaged(draw: st.DrawFn, good: Any) -> Any:
    """``good`` with a value somewhere that is gone or something else."""
    data = copy.deepcopy(good)
    where = draw(st.sampled_from(list(paths(data))))
    if not where:
        return draw(JUNK)
    place, last = data, where[-1]
    for key in where[:-1]:
        place = place[key]
    if draw(st.booleans()):
        del place[last]
    else:
        place[last] = draw(JUNK)
    return data


RAW = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"", b"[]", b"null", b"3", b'"x"', b"{", b"\xff\xfe", b"[" * 100_000, b"\x00" * 4096]),
)

ARGUMENTS: dict[str, tuple[Main, list[str]]] = {
    "model.json": (cut.main, ["--size", "2", "--out", "cut"]),
    "subnets/2.json": (cut.main, ["--size", "2", "--out", "cut"]),
    "selections/greedy.json": (cut.main, ["--selection", "RUN/selections/greedy.json", "--out", "cut"]),
    "results.json": (worth.main, []),
}


READERS: dict[str, Callable[[Path], object]] = {
    "model.json": lambda folder: load(folder / "model"),
    "subnets/2.json": lambda folder: Run(folder).subnets(),
    "selections/greedy.json": lambda folder: Selection.load(folder / "selections/greedy.json").choice(),
    "results.json": lambda folder: results_table(Run(folder).results()),
}


@contextlib.contextmanager
def instead(file: Path, content: bytes) -> Iterator[None]:
    good = file.read_bytes()
    try:
        file.write_bytes(content)
        yield
    finally:
        file.write_bytes(good)


def json_like(file: Path) -> st.SearchStrategy[bytes]:
    return st.one_of(damaged(json.loads(file.read_bytes())).map(lambda d: json.dumps(d).encode()), RAW)


@pytest.mark.parametrize("name", READERS)
@fuzz
@given(data=st.data())
def test_whatever_a_json_file_holds_it_is_read_or_refused(
    whole: Path, name: str, data: st.DataObject
) -> None:
    content = data.draw(json_like(whole / name))
    with instead(whole / name, content), contextlib.suppress(UserError):
        READERS[name](whole)


@pytest.mark.parametrize("name", ARGUMENTS)
@a_few
@given(data=st.data())
def test_whatever_a_json_file_holds_a_command_works_or_says_what_is_wrong(
    whole: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    name: str,
    data: st.DataObject,
) -> None:
    main, more = ARGUMENTS[name]
    arguments = [str(whole), *(word.replace("RUN", str(whole)) for word in more)]
    if "--out" in arguments:
        arguments[-1] = str(tmp_path_factory.mktemp("out"))
    before = set(whole.parent.rglob("*"))
    with instead(whole / name, data.draw(json_like(whole / name))):
        complaint(main, arguments, capsys)
    assert set(whole.parent.rglob("*")) == before


@fuzz
@given(data=st.data())
def test_whatever_a_configuration_holds_it_is_resolved_or_refused(whole: Path, data: st.DataObject) -> None:
    file = whole / "config.yaml"
    texts = damaged(yaml.safe_load(file.read_bytes())).map(yaml.safe_dump)
    content = data.draw(st.one_of(texts.map(lambda text: text.encode("utf-8", "replace")), RAW))
    with instead(file, content), contextlib.suppress(UserError):
        resolve_trained(Run.open(whole).config_data())


@fuzz
@given(content=RAW, cut_at=st.integers(0, 5000), flip=st.integers(0, 5000))
def test_whatever_a_file_of_weights_holds_it_is_loaded_or_refused(
    whole: Path, content: bytes, cut_at: int, flip: int
) -> None:
    file = whole / "model.safetensors"
    good = file.read_bytes()
    flipped = good[:flip] + bytes([good[flip] ^ 0xFF]) + good[flip + 1 :]
    for damage in (content, good[:cut_at], flipped, content + good):
        with instead(file, damage), contextlib.suppress(UserError):
            load(whole / "model")


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
def test_a_network_is_compared_with_its_tensors_before_it_is_made(
    folder: Path, capsys: pytest.CaptureFixture[str], keys: list[Any], to: Any, words: str
) -> None:
    change(folder / "model.json", *keys, to=to)
    assert words in certain(cut.main, [str(folder), "--size", "2", "--out", "cut"], capsys)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], number: float
) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = sorted(tensors)[3]
    tensors[name].view(-1)[0] = number
    save_file(tensors, folder / "model.safetensors")
    said = certain(cut.main, [str(folder), "--size", "2", "--out", "cut"], capsys)
    assert f"tensor '{name}' must hold finite numbers" in said


def test_a_tensor_of_another_shape_is_named_with_both_shapes(
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
def test_a_selection_does_not_choose_where_is_written(
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


def test_a_record_of_exports_does_not_choose_what_is_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {"files": [{"file": "../../other.onnx"}], "model": {"kept": [], "provenance": {"budget": "2"}}}
    (folder / "export" / "2").mkdir(parents=True)
    (folder / "export" / "2" / "export.json").write_text(json.dumps(record))
    assert "must be letters, digits" in certain(latency, [str(folder)], capsys)


def test_a_run_does_not_choose_the_cache(
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
def test_a_reading_command_does_not_follow_links_out_of_the_run(
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
def test_transcripts_that_are_none_are_refused(folder: Path, text: str) -> None:
    (folder / "transcripts" / "test-2.tsv").write_text(text)
    with pytest.raises(UserError, match=r"test-2\.tsv' must have"):
        Run(folder).transcripts("test-2")


def test_a_line_of_a_transcript_may_hold_any_character(folder: Path) -> None:
    rows = [("a\x85b", "one\u2028two", "\x1b[2J"), ("b", "", "")]
    Run(folder).save_transcripts("test-2", rows, ("", ""), "")
    assert Run(folder).transcripts("test-2") == rows


LINES = ["", "x", "[]", "3", "{}", '{"step": null}', '{"step": "a"}', '{"Step": []}', "[" * 10_000]


def test_lines_of_curves_that_are_none_are_passed_over(folder: Path) -> None:
    run = Run(folder)
    before, seconds = run.scores(), run.training_seconds()
    for file in (run.scores_file, folder / "metrics" / "train.jsonl"):
        with file.open("a") as out:
            out.write("\n".join([*LINES, '{"Step": 10000, "Lapse Time": "soon"}', ""]))
    assert run.scores() == before
    assert run.training_seconds() == seconds


@pytest.mark.parametrize("content", [b"x" * 5000, b"SQLite format 3\0" + b"\0" * 84])
def test_evidence_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "evidence.sqlite").write_bytes(content)
    with pytest.raises(UserError, match=r"evidence\.sqlite' must be"):
        Store(tmp_path / "evidence.sqlite").fact("a", "b", (None,))


def test_a_finished_run_with_damaged_results_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "results.json").write_text('{"sizes": {"2": {}}, "title": "x"}')
    said = certain(train.main, [*tiny(), *LEARNING, "--out", str(folder)], capsys)
    assert "results.json' must be a run's results, but is not: `sizes.2." in said


def test_everybody_may_read_what_a_training_leaves(finished: tuple[Run, str]) -> None:
    files = [path for path in finished[0].folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    for file in files:
        assert file.stat().st_mode & 0o444 == 0o444, file
