"""``python -m supernet.latency``: every file in new processes, and consistent numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from supernet.commands import latency
from supernet.export.onnx import Onnx
from supernet.latency import __main__ as command
from supernet.latency import measure
from supernet.latency.measure import Subject, base_of
from supernet.runs.run import Run
from supernet.runtime.precision import Precision
from supernet.system.timing import timed
from tests.supernet.complaining import one_error

pytestmark = pytest.mark.slow

RUNTIMES = {"float32": "onnx", "int8": "onnx int8"}


@pytest.fixture
def mine(finished: tuple[Run, str], here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A copy of the finished run, with short measurements."""
    monkeypatch.setattr(measure, "SECONDS", (1, 10))
    monkeypatch.setattr(latency, "SECONDS", (1, 10))
    monkeypatch.setattr(measure, "REPEATS", 1)
    shutil.copytree(finished[0].folder, tmp_path / "run")
    return Run(tmp_path / "run")


def test_sizes_and_exports_are_measured_and_compared(
    exported: tuple[Run, str], mine: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exports = tmp_path / "exports"
    shutil.copytree(exported[0].exports, exports)
    command.main([str(mine.folder), "--rounds", "1", "--export", str(exports)])
    latency = json.loads(mine.latency_file.read_text())
    assert latency["device"] == "cpu"
    rows = {(row["size"], row["runtime"]): row for row in latency["rows"]}
    assert set(rows) == {(4, "eager"), (2, "eager"), (2, "onnx"), (2, "onnx int8")}
    assert latency["compared_with"] == {"label": "2", "size": 2, "runtime": "onnx"}
    assert set(rows[2, "onnx"]["ratios"].values()) == {1.0}
    for row in rows.values():
        costs = row["costs"]
        assert min(costs.values()) > 0
        assert costs["memory_mb_1s"] <= costs["memory_mb_10s"]
        base = rows[2, "onnx"]["costs"]
        assert row["ratios"] == {key: pytest.approx(costs[key] / base[key]) for key in costs}
    file = exports / "2" / "model.int8.onnx"
    assert rows[2, "onnx int8"]["costs"]["file_mb"] == file.stat().st_size / 1e6
    eager, onnx = (rows[2, runtime]["costs"]["memory_mb_1s"] for runtime in ("eager", "onnx"))
    assert onnx < eager, "a process with onnxruntime must not import PyTorch"
    out = capsys.readouterr().out
    assert "onnx int8" in out
    times = {p: rows[2, runtime]["costs"]["rtf_10s"] for p, runtime in RUNTIMES.items()}
    fastest = min(times, key=times.__getitem__)
    assert f"Fastest for 10 s of audio: 2: {fastest}." in " ".join(out.split())
    record = json.loads((exports / "2" / "export.json").read_text())
    assert record["fastest"]["sizes"]["2"]["precision"] == fastest
    assert "10\u00a0s" in out


def test_a_file_that_cannot_be_run_is_an_error(mine: Run, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime", reason="needs the export extra")
    folder = mine.export_folder("2")
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"no graph")
    about: Any = {"kept": ["layers.0"], "provenance": {"budget": "1"}}
    files = [{"file": "model.onnx", "exact": True}]
    (folder / "export.json").write_text(json.dumps({"files": files, "model": about}))
    line = one_error(command.main, [mine.folder, "--rounds", "1"], capsys)
    assert f"'{folder / 'model.onnx'}' must run, but does not" in line
    (folder / "export.json").write_text("{}")
    assert "must be the record of an export" in one_error(command.main, [mine.folder], capsys)
    assert not mine.latency_file.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runs/finished", "--device", "cuda:97"], "`--device` must be a GPU of this machine, which has "),
        ([], "`RUN` or `--preset` must be given"),
        (["runs/finished", "--preset", "tiny"], "but not both"),
        (["runs/nowhere"], "`RUN` must be a run folder"),
        (["runs/finished", "--threads", "0"], "`--threads` must be at least 1"),
        (["runs/finished", "--rounds", "0"], "`--rounds` must be at least 1"),
        (["runs/finished", "--export", "nowhere"], "`--export` must be a folder"),
        (["--preset", "smal"], "Did you mean small?"),
    ],
)
def test_wrong_arguments_are_one_clear_line(
    mine: Run, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert words in one_error(command.main, arguments, capsys)


def test_measuring_a_preset_needs_the_export_extra(
    mine: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Onnx, "packages", ("onnx_that_is_not_there",))
    assert one_error(command.main, ["--preset", "tiny"], capsys).endswith("pip install -e '.[export]'")


def test_the_base_is_the_largest_size_in_onnx_or_else_in_pytorch() -> None:
    def subject(size: int, precision: Precision | None) -> Subject:
        return Subject(str(size), size, Path("x"), precision)

    eager = [subject(12, None), subject(6, None)]
    assert base_of(eager) == eager[0]
    assert base_of([*eager, subject(12, "int8")]) == eager[0]
    assert base_of([*eager, subject(6, "float32"), subject(9, "float32")]) == subject(9, "float32")


def test_warm_up_runs_are_not_timed() -> None:
    runs = list[int]()
    timing = timed(lambda: runs.append(1), repeats=3, warm_up=2)
    assert (len(timing.seconds), len(runs)) == (3, 5)
    assert timing.best == min(timing.seconds) >= 0
