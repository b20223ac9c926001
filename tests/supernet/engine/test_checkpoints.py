"""Trainings resumed from checkpoints: untrusted ones, damaged ones, and those of a running training."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq2.gang import FakeGang

from supernet.engine.checkpoints import prepare
from supernet.runs.run import Run
from supernet.system.folders import check_closed, held
from supernet.train import main
from tests.supernet.processes import LEARNING, digest, settings, start, start_ranks

pytestmark = pytest.mark.slow

FILES = [
    "trainer/rank_00.pt",
    "model/pp_00/tp_00/sdp_00.pt",
    "optimizer/pp_00/tp_00/sdp_00.pt",
    "data_reader/dp_00.pt",
]


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.proof),)


@pytest.fixture
def unfinished(here: Path, finished: tuple[Run, str], tmp_path: Path) -> Path:
    """The checkpoints of a training that stopped just before its results were written."""
    folder = tmp_path / "unfinished"
    shutil.copytree(finished[0].folder, folder)
    (folder / "results.json").unlink()
    (folder / "model.safetensors").unlink()
    return folder


def resume(folder: Path) -> None:
    main([*settings(), *LEARNING, "--out", str(folder)])


def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The message of a training that does not start and ends with status 2."""
    with pytest.raises(SystemExit) as end:
        resume(folder)
    err = capsys.readouterr().err
    assert end.value.code == 2, err
    assert "Traceback" not in err
    return "\n".join(line for line in err.splitlines() if line.startswith("error: "))


def by_torch(data: dict[str, Any], planted: Planted, file: Path) -> None:
    torch.save({**data, "planted": planted}, file)


def by_pickle(data: dict[str, Any], planted: Planted, file: Path) -> None:
    file.write_bytes(pickle.dumps(planted, protocol=0))


def as_key(data: dict[str, Any], planted: Planted, file: Path) -> None:
    torch.save({(planted,): data}, file, pickle_protocol=5)


@pytest.mark.parametrize("plant", [by_torch, by_pickle, as_key])
@pytest.mark.parametrize("name", FILES)
def test_no_code_in_a_checkpoint_is_run(
    unfinished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    plant: Callable[[dict[str, Any], Planted, Path], None],
) -> None:
    file = unfinished / "checkpoints" / "step_24" / name
    plant(torch.load(file, weights_only=True), Planted(tmp_path / "proof"), file)
    message = refused(unfinished, capsys)
    assert f"'{file}' is not trusted" in message
    assert not (tmp_path / "proof").exists()


def test_a_checkpoint_that_would_exhaust_memory_is_not_opened(
    unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = unfinished / "checkpoints" / "step_24" / FILES[0]
    with zipfile.ZipFile(file) as old:
        content = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in content.items():
            new.writestr(name, data)
    assert f"'{file}' is not trusted" in refused(unfinished, capsys)


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def blank(content: bytes) -> bytes:
    return bytes(len(content))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [lambda _: b"", half, blank], ids=["empty", "half", "blank"])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before_it(
    unfinished: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    folder = unfinished / "checkpoints"
    file = folder / "step_24" / name
    file.write_bytes(damage(file.read_bytes()))
    note = prepare(folder, FakeGang(torch.device("cpu")))
    assert f"'{file}' is damaged" in str(note)
    assert "'step_20'" in str(note)
    assert {path.name for path in folder.glob("step_*")} == {"step_20", "step_24.damaged"}
    assert prepare(folder, FakeGang(torch.device("cpu"))) is None


def test_a_training_resumed_from_the_older_checkpoint_is_bit_exact(
    unfinished: Path, finished: tuple[Run, str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = unfinished / "checkpoints" / "step_24" / FILES[2]
    file.write_bytes(half(file.read_bytes()))
    resume(unfinished)
    assert f"'{file}' is damaged" in capsys.readouterr().err
    assert digest(unfinished / "model.safetensors") == digest(finished[0].folder / "model.safetensors")


def test_without_an_intact_checkpoint_nothing_is_deleted(
    unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = sorted((unfinished / "checkpoints").glob("step_*"))
    (steps[0] / FILES[0]).write_bytes(b"")
    shutil.rmtree(steps[1] / "optimizer")
    config = (unfinished / "config.yaml").read_bytes()
    message = refused(unfinished, capsys)
    assert "'optimizer' is missing" in message
    assert "to start over" in message
    assert sorted((unfinished / "checkpoints").glob("step_*")) == steps
    assert (unfinished / "config.yaml").read_bytes() == config


def other_shape(data: dict[str, Any]) -> object:
    return {key: torch.zeros(3, 3) if isinstance(value, torch.Tensor) else 3 for key, value in data.items()}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", [lambda _: {}, other_shape], ids=["empty", "other"])
def test_a_checkpoint_of_another_training_is_an_error(
    unfinished: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    change: Callable[[dict[str, Any]], object],
) -> None:
    file = unfinished / "checkpoints" / "step_24" / name
    torch.save(change(torch.load(file, weights_only=True)), file)
    message = refused(unfinished, capsys)
    assert f"'{file}' must fit this training" in message
    assert len(message.splitlines()) == 1


def test_a_training_resumes_only_with_as_many_processes_as_before(
    unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of two processes writes one file."""
    for part, name in (("trainer", "rank_{:02}.pt"), ("data_reader", "dp_{:02}.pt")):
        folder = unfinished / "checkpoints" / "step_24" / part
        shutil.copy(folder / name.format(0), folder / name.format(1))
    assert "as many processes as before, 2, but there are 1 now." in refused(unfinished, capsys)


def test_of_several_processes_one_reports_the_error_and_none_shows_a_traceback(
    unfinished: Path, place: Path
) -> None:
    command = ["supernet.train", *settings(), *LEARNING, "--out", str(unfinished)]
    processes = start_ranks(command, place)
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], said
    errors = [[line for line in text.splitlines() if line.startswith("error: ")] for text in said]
    assert [len(lines) for lines in errors] == [1, 1]
    assert "as many processes as before, 1, but there are 2 now." in errors[0][0]
    assert "process 1 must hear from the other processes of this training" in errors[1][0]
    assert not any("Traceback" in text for text in said)


def test_only_one_training_at_a_time_uses_a_folder(
    unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(unfinished):
        before = {path: path.stat().st_mtime_ns for path in unfinished.rglob("*")}
        assert "another process is training in it" in refused(unfinished, capsys)
        assert {path: path.stat().st_mtime_ns for path in unfinished.rglob("*")} == before


HOLDING = """
import pathlib, sys, time
from supernet.system.folders import held
with held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_killed_process_releases_its_folder(tmp_path: Path) -> None:
    (tmp_path / "holding.py").write_text(HOLDING)
    process = start(["holding", tmp_path / "run"], tmp_path, {"PYTHONPATH": f"{tmp_path}:{os.getcwd()}"})
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match="another process"), held(tmp_path / "run"):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    with held(tmp_path / "run"):
        pass


@pytest.mark.parametrize(
    "name", ["checkpoints", "metrics", "config.yaml", "transcripts", ".lock", "pictures"]
)
def test_a_training_does_not_follow_links_out_of_its_folder(
    unfinished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    mine = tmp_path / "mine"
    if (unfinished / name).is_dir():
        shutil.move(unfinished / name, mine)
    else:
        mine.write_text("mine")
        (unfinished / name).unlink(missing_ok=True)
    (unfinished / name).symlink_to(mine)
    assert f"'{unfinished / name}' must not lead out" in refused(unfinished, capsys)


def test_links_within_a_folder_and_to_the_folder_are_followed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").touch()
    (tmp_path / "run" / "same").symlink_to("file")
    (tmp_path / "link").symlink_to("run")
    check_closed(tmp_path / "link")


@pytest.mark.parametrize("make", [lambda p: p.symlink_to(p.name), os.mkfifo], ids=["circle", "pipe"])
def test_special_files_are_not_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "config.yaml")
    with pytest.raises(ValueError, match=r"config\.yaml' must"):
        check_closed(tmp_path)
