"""Files of a run with arbitrary contents are read or rejected, without tracebacks or running code in them."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selection import __main__ as select
from selection import worth
from selection.comparing.earlier import stored
from supernet import cut, evaluate, train
from supernet.console.tables import results_table
from supernet.engine.checkpoints import read
from supernet.errors import UserError
from supernet.network.supernet_ctc import SupernetCTC
from supernet.reporting.trained import curves_of, phases_of, results_of, scores_of
from supernet.runs.confidence_file import read_confidences, save_cascade
from supernet.runs.model_file import Model, load, save
from supernet.runs.opening import own_selection
from supernet.runs.resolve import resolve_trained
from supernet.runs.run import Run
from supernet.runs.selection_file import Choice, Selection
from supernet.text.tokens import MODEL_FILE, Tokens
from tasks.reading.vocabulary import learn, make_tokens
from tests.supernet.damaging import (
    Main,
    a_few,
    byte_errors,
    complaint,
    damaged,
    fuzz,
    instead,
    json_like,
    yaml_like,
)
from tests.supernet.processes import LEARNING
from tests.supernet.processes import settings as tiny
from tests.supernet.tiny import tiny_config

TEXTS = ["a bc cab", "bad cab ab"] * 3
CHOOSE = ["--strategies", "tail", "--sizes", "2", "--utterances", "2", "--seconds", "1"]


@pytest.fixture(scope="session")
def whole(finished: tuple[Run, str], place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with the files of all commands, which tests damage and restore."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    shutil.copytree(finished[0].folder, folder, ignore=shutil.ignore_patterns("checkpoints", "tb"))
    with pytest.MonkeyPatch.context() as here:
        here.chdir(place)
        select.main([str(folder), *CHOOSE])
        evaluate.main([str(folder), "--split", "valid"])
    subnet = Selection.load(folder / "subnets" / "2.json").choices[0].subnet
    run = Run(folder)
    row = {"slope": 2.0, "offset": -1.0}
    save_cascade(run, own_selection(run), "entropy", {"2": row, "4": row}, "2,4", {"threshold": 0.5})
    Selection("greedy", (Choice("params=50%", subnet, loss=0.5),)).save(folder / "selections/greedy.json")
    return folder


pytestmark = pytest.mark.usefixtures("here")


def curves(folder: Path) -> None:
    run = Run(folder)
    run.training_seconds()
    curves_of(run, "train", "ctc/", ["2"])
    curves_of(run, "valid", "wer/", ["2"])
    phases_of(results_of(run).model_copy(update={"phases": None}), scores_of(run))


READERS: dict[str, Callable[[Path], object]] = {
    "model.json": lambda folder: load(folder / "model"),
    "subnets/2.json": lambda folder: Run(folder).subnets(),
    "selections/greedy.json": lambda folder: Selection.load(folder / "selections/greedy.json").choice(),
    "confidence/run.json": lambda folder: read_confidences(Run(folder), own_selection(Run(folder))),
    "results.json": lambda folder: results_table(Run(folder).results()),
    "comparison.json": lambda folder: stored(folder / "comparison.json", "a network"),
    "scores.jsonl": curves,
    "metrics/train.jsonl": curves,
    "metrics/valid.jsonl": curves,
}


@pytest.mark.parametrize("name", READERS)
@fuzz
@given(data=st.data())
def test_any_json_file_is_read_or_rejected(whole: Path, name: str, data: st.DataObject) -> None:
    content = data.draw(json_like(whole / name))
    with instead(whole / name, content), contextlib.suppress(UserError):
        READERS[name](whole)


@fuzz
@given(data=st.data())
def test_any_configuration_is_resolved_or_rejected(whole: Path, data: st.DataObject) -> None:
    content = data.draw(yaml_like(whole / "config.yaml"))
    with instead(whole / "config.yaml", content), contextlib.suppress(UserError):
        resolve_trained(Run.open(whole).config_data())


@fuzz
@given(data=st.data())
def test_any_file_of_weights_is_loaded_or_rejected(whole: Path, data: st.DataObject) -> None:
    content = data.draw(byte_errors((whole / "model.safetensors").read_bytes()))
    with instead(whole / "model.safetensors", content), contextlib.suppress(UserError):
        load(whole / "model")


@pytest.fixture(scope="session")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with random weights and pieces as tokens."""
    folder = tmp_path_factory.mktemp("pieces")
    tokens = Tokens.from_model(learn("bpe", None, True, TEXTS))
    save(Model(SupernetCTC(tiny_config(), len(tokens)), tokens), folder / "model")
    return folder


@fuzz
@given(data=st.data())
def test_any_model_of_pieces_splits_texts_or_is_rejected(pieces: Path, data: st.DataObject) -> None:
    readers: list[Callable[[], Tokens]] = [
        lambda: load(pieces / "model").tokens,
        lambda: make_tokens(pieces / MODEL_FILE, None, False, (), pieces),
        lambda: make_tokens(pieces / "tokens.txt", None, False, (), pieces),
    ]
    with instead(pieces / MODEL_FILE, data.draw(byte_errors((pieces / MODEL_FILE).read_bytes()))):
        for reader in readers:
            with contextlib.suppress(UserError):
                tokens = reader()
                tokens.decode([*tokens.encode_known("a bc ü"), *range(len(tokens))])
        with contextlib.suppress(UserError):
            Run(pieces).keep_tokens(Tokens.from_texts(TEXTS))
        with contextlib.suppress(UserError):
            Run(pieces).keep_tokens(Tokens.from_model(learn("bpe", None, True, TEXTS)))


@fuzz
@given(data=st.data())
def test_any_list_of_tokens_is_read_or_rejected(whole: Path, tmp_path: Path, data: st.DataObject) -> None:
    good = (whole / "tokens.txt").read_bytes()
    (tmp_path / "tokens.txt").write_bytes(data.draw(byte_errors(good)))
    with contextlib.suppress(UserError):
        tokens = make_tokens(tmp_path / "tokens.txt", None, False, (), tmp_path)
        tokens.decode([*tokens.encode_known("a bc ü"), *range(len(tokens))])
    with contextlib.suppress(UserError):
        Run(tmp_path).keep_tokens(Tokens.from_texts(TEXTS))


@pytest.fixture(scope="session")
def unfinished(finished: tuple[Run, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that stopped just before its results were written, with one checkpoint."""
    folder = tmp_path_factory.mktemp("unfinished") / "run"
    shutil.copytree(finished[0].folder, folder, ignore=shutil.ignore_patterns("step_20", "results.json"))
    return folder


PARTS = ["trainer/rank_00.pt", "model/pp_00/tp_00/sdp_00.pt", "optimizer/pp_00/tp_00/sdp_00.pt"]
PARTS += ["data_reader/dp_00.pt"]


def saved(data: object) -> bytes:
    file = io.BytesIO()
    torch.save(data, file, pickle_protocol=2)
    return file.getvalue()


def checkpoint_like(file: Path) -> st.SearchStrategy[bytes]:
    data = torch.load(file, weights_only=True)
    return st.one_of(byte_errors(file.read_bytes()), damaged(data).map(saved))


@pytest.mark.parametrize("part", PARTS)
@settings(fuzz, max_examples=25)
@given(data=st.data())
def test_any_checkpoint_is_plain_data_or_rejected(unfinished: Path, part: str, data: st.DataObject) -> None:
    file = unfinished / "checkpoints" / "step_24" / part
    with instead(file, data.draw(checkpoint_like(file))), contextlib.suppress(UserError):
        read(file)


RUN_FILES: dict[str, tuple[Main, list[str]]] = {
    "model.json": (cut.main, ["--size", "2", "--out", "cut"]),
    "subnets/2.json": (cut.main, ["--size", "2", "--out", "cut"]),
    "selections/greedy.json": (cut.main, ["--selection", "RUN/selections/greedy.json", "--out", "cut"]),
    "results.json": (worth.main, []),
    "config.yaml": (evaluate.main, ["--sizes", "2", "--split", "valid"]),
    "model.safetensors": (evaluate.main, ["--sizes", "2", "--split", "valid"]),
    "comparison.json": (select.main, CHOOSE),
}


def like(file: Path) -> st.SearchStrategy[bytes]:
    if file.suffix == ".safetensors":
        return byte_errors(file.read_bytes())
    if file.suffix == ".yaml":  # of the same task, as others would synthesize speech first
        return yaml_like(file).filter(lambda content: b"name: manifest" in content)
    return json_like(file)


@pytest.mark.parametrize("name", RUN_FILES)
@a_few
@given(data=st.data())
def test_commands_on_any_file_work_or_give_a_clear_error(
    whole: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    name: str,
    data: st.DataObject,
) -> None:
    main, more = RUN_FILES[name]
    arguments = [str(whole), *(word.replace("RUN", str(whole)) for word in more)]
    if "--out" in arguments:
        arguments[-1] = str(tmp_path_factory.mktemp("out"))
    before = set(whole.parent.rglob("*"))
    with instead(whole / name, data.draw(like(whole / name))):
        complaint(main, arguments, capsys)
    assert set(whole.parent.rglob("*")) == before


@pytest.mark.parametrize("part", PARTS)
@settings(a_few, max_examples=2)
@given(data=st.data())
def test_training_from_any_checkpoint_continues_or_gives_a_clear_error(
    unfinished: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    part: str,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("copy") / "run"
    shutil.copytree(unfinished, folder)
    file = folder / "checkpoints" / "step_24" / part
    file.write_bytes(data.draw(checkpoint_like(file)))
    complaint(train.main, [*tiny(), *LEARNING, "--out", str(folder)], capsys)
