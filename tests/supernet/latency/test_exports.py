"""Exports are measured as on a device, without PyTorch, and note their fastest precision."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from supernet.latency import __main__ as command
from supernet.latency.exports import exports_in, subjects_of, times_by_export, wrong_ones
from supernet.latency.measure import Costs, Subject, largest_difference
from supernet.runs.run import Run
from supernet.runtime.precision import PRECISIONS
from supernet.system.machine import processor
from tests.supernet.complaining import complaint, one_error
from tests.supernet.processes import REPOSITORY, run

pytest.importorskip("onnxruntime", reason="needs the export extra")
from supernet.runtime import DeviceRecognizer

pytestmark = pytest.mark.slow

MISSING = ("torch", "torchaudio", "fairseq2", "lhotse", "pydantic", "yaml", "rich", "sentencepiece", "onnx")
"""Packages that a device need not have."""


@pytest.fixture
def device(tmp_path: Path) -> dict[str, str]:
    """The environment of a device with NumPy and onnxruntime, on which other packages cannot be imported."""
    for name in MISSING:
        (tmp_path / "device" / name).mkdir(parents=True)
        (tmp_path / "device" / name / "__init__.py").write_text("raise ImportError('not on a device')\n")
    return {"PYTHONPATH": f"{tmp_path / 'device'}:{REPOSITORY}"}


def with_sizes(bundled: Run, bundle: str, folder: Path, *sizes: str) -> Path:
    """A copy of an export that has some of the sizes."""
    shutil.copytree(bundled.export_folder(bundle), folder)
    record = json.loads((folder / "export.json").read_text())
    record["sizes"] = [size for size in record["sizes"] if size["budget"] in sizes]
    (folder / "export.json").write_text(json.dumps(record))
    return folder


def test_an_export_is_measured_where_there_is_no_pytorch(
    bundled: Run, tmp_path: Path, device: dict[str, str]
) -> None:
    folder = with_sizes(bundled, "on-demand", tmp_path / "export", "2")
    out, _ = run("supernet.latency", "export", "--rounds", "1", cwd=tmp_path, extra=device, fresh=True)
    figures = json.loads((folder / "latency.json").read_text())
    assert 0.0 == figures["rows"][0]["difference"] < min(row["difference"] for row in figures["rows"][1:])
    assert (figures["machine"], figures["threads"]) == (processor(), 1)
    times = [10_000 * row["costs"]["rtf_10s"] for row in figures["rows"]]
    assert [row["runtime"] for row in figures["rows"]] == ["onnx", "onnx int8", "onnx int4"]
    best = PRECISIONS[times.index(min(times))]
    assert f"Fastest for 10 s of audio: export: {best}." in out
    for precision, time in zip(PRECISIONS, times, strict=True):
        (line,) = (line for line in out.splitlines() if line.startswith("export  ") and precision in line)
        assert line.split()[1:4] == ["2", precision, f"{time:.1f}"]
    (size,) = DeviceRecognizer.load(folder, precision="fastest").sizes
    assert size.precision == best


def test_without_an_out_nothing_else_is_written(bundled: Run, tmp_path: Path, device: dict[str, str]) -> None:
    folder = with_sizes(bundled, "shared", tmp_path / "export", "2")
    before = (folder / "export.json").read_bytes()
    words = ["supernet.latency", "export", "--rounds", "1", "--out", "here.json"]
    run(*words, cwd=tmp_path, extra=device, fresh=True)
    rows = json.loads((tmp_path / "here.json").read_text())["rows"]
    assert (folder / "export.json").read_bytes() == before
    assert not (folder / "latency.json").exists()
    for row, suffix in zip(rows, ("", ".int8", ".int4"), strict=True):
        files = [folder / f"2{suffix}.onnx", folder / f"weights{suffix}.bin"]
        assert row["costs"]["file_mb"] == sum(file.stat().st_size for file in files) / 1e6


def test_the_graphs_of_a_folder_of_exports_are_those_of_its_records(bundled: Run) -> None:
    folders = exports_in(bundled.exports)
    assert [folder.name for folder in folders] == ["on-demand", "shared"]
    subjects = subjects_of(folders)
    assert [(s.label, s.precision) for s in subjects] == 2 * [(n, p) for n in "234" for p in PRECISIONS]
    on_demand, shared = subjects[:9], subjects[9:]
    assert {s.file.name for s in on_demand} == {"model.onnx", "model.int8.onnx", "model.int4.onnx"}
    subnets, units = bundled.subnets(), [f"layers.{i}" for i in range(4)]
    for subject in on_demand:
        assert subject.kept == tuple(unit in subnets[subject.label].kept for unit in units)
    assert [s.kept for s in shared] == 9 * [()]
    assert subjects_of(folders, bundles=False) == []
    assert exports_in(bundled.folder) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "tiny"], "`--preset` must go with a run, but"),
        (["--selection", "x.json"], "`--selection` must go with a run, but"),
        (["--export", "x"], "`--export` must go with a run, but"),
        (["--device", "cuda"], "`--device` must be cpu for the export"),
        (["--out", "nowhere/x.json"], "`--out` must lie in a folder, but there is no such folder"),
        (["--rounds", "0"], "`--rounds` must be at least 1"),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str], words: str, bundled: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in one_error(command.main, [bundled.export_folder("shared"), *arguments], capsys)


def test_an_export_that_leads_outside_or_has_no_graph_is_one_line(
    bundled: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = with_sizes(bundled, "on-demand", tmp_path / "all" / "export", "2")
    record = json.loads((folder / "export.json").read_text())
    for file in record["sizes"][0]["files"]:
        file["file"] = "model.pte"
    (folder / "export.json").write_text(json.dumps(record))
    assert "must have a file for onnxruntime, but has none" in one_error(command.main, [folder], capsys)
    (tmp_path / "all" / "link").symlink_to(bundled.export_folder("shared"))
    line = one_error(command.main, [tmp_path / "all"], capsys)
    assert "link' must not lead out of" in line


def figures(file: Path, machine: str, times: dict[tuple[str, str], float], **more: Any) -> Path:
    rows = [
        {"label": label, "size": int(label), "runtime": runtime, "costs": {"rtf_10s": ms / 10_000}}
        for (label, runtime), ms in times.items()
    ]
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"machine": machine, "threads": 1, "rows": rows, **more}))
    return file


def test_the_figures_of_devices_stand_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    first = {("6", "onnx"): 20.0, ("6", "onnx int8"): 10.0, ("12", "eager"): 50.0}
    second = {("6", "onnx"): 100.0, ("6", "onnx int8"): 120.0, ("6", "onnx int4"): 300.0}
    a = figures(tmp_path / "server.json", "A Processor", first, busy=True)
    b = figures(tmp_path / "pi.json", "A Board", second)
    command.main(["--compare", str(a), str(b)])
    out = capsys.readouterr().out
    cells = [[cell.strip() for cell in line.strip("│ \n").split("│")] for line in out.splitlines()]
    rows = [row for row in cells if len(row) == 4]
    assert rows == [
        ["6", "onnx", "20.0", "100.0 *"],
        ["6", "onnx int8", "10.0 *", "120.0"],
        ["12", "eager", "50.0 *", "–"],
        ["6", "onnx int4", "–", "300.0"],
    ]
    assert "server: A Processor, 1 thread. The machine was busy" in out
    assert "pi: A Board, 1 thread\n" in out


def test_files_of_the_same_name_are_told_apart_by_their_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        figures(Path(name, "latency.json"), name, {("6", "onnx"): 1.0})
    command.main(["--compare", "a/latency.json", "b/latency.json"])
    out = capsys.readouterr().out
    assert "a/latency: a, 1 thread" in out
    assert "b/latency: b, 1 thread" in out


def test_all_files_that_are_no_figures_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.json").write_text('{"machine": "x", "threads": 1, "rows": []}')
    arguments = ["--compare", tmp_path / "empty.json", tmp_path / "none.json"]
    first, second = complaint(command.main, arguments, capsys).splitlines()
    assert "empty.json' must be the figures of a measurement, but is not: `rows` must not be empty" in first
    assert "none.json' must exist, but there is no such file" in second
    line = one_error(command.main, [tmp_path, *arguments], capsys)
    assert "`--compare` must be given without `RUN`, which measures." in line


def row(milliseconds: float, difference: float) -> dict[str, Any]:
    return {"costs": {"rtf_10s": milliseconds / 10_000}, "difference": difference}


def test_a_file_that_computes_something_else_here_is_named_and_not_chosen(tmp_path: Path) -> None:
    """As some releases of onnxruntime do in int8 on processors with AMX."""
    subjects = [
        Subject("6", 6, tmp_path / "model.onnx", "float32", difference=3e-5),
        Subject("6", 6, tmp_path / "model.int8.onnx", "int8", difference=0.5),
        Subject("6", 6, tmp_path / "model.int4.onnx", "int4", difference=3.0),
    ]
    rows = [row(30.0, 0.0), row(10.0, 1e5), row(20.0, 29.0)]
    assert times_by_export(subjects, rows) == {tmp_path: {"6": {"float32": 30.0, "int4": 20.0}}}
    (sentence,) = wrong_ones(subjects, rows)
    assert "model.int8.onnx' must not be used here" in sentence
    assert "differ by 1e+05 from those in float32, where it was exported by 0.5." in sentence
    for difference in (4.9, 0.9):
        assert wrong_ones(subjects, [rows[0], row(10.0, difference), rows[2]]) == []
    assert len(wrong_ones(subjects, [rows[0], row(10.0, float("inf")), rows[2]])) == 1


def test_differences_are_those_from_float32_of_the_same_export(tmp_path: Path) -> None:
    def costs(*log_probs: list[float]) -> Costs:
        return Costs(log_probs=list(log_probs))

    exact = costs([-1.0, -2.0], [-3.0, -4.0])
    assert largest_difference(costs([-1.0, -2.5], [-3.0, -3.75]), exact) == 0.5
    assert largest_difference(exact, exact) == 0.0
    assert largest_difference(costs([-1.0, float("nan")], [-3.0, -4.0]), exact) == float("inf")
    assert largest_difference(costs(), costs()) == 0.0
