"""The fastest precision of a size is that of the least time, and holds for the machine that measured it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernet.errors import UserError
from supernet.runs.run import Run
from supernet.runtime import DeviceRecognizer
from supernet.runtime.fastest import choose, save_fastest
from supernet.runtime.precision import PRECISIONS, Precision
from supernet.system.machine import processor
from tests.supernet.talkative import recordings

pytestmark = pytest.mark.slow

TIMES: dict[str, dict[Precision, float]] = {
    "2": {"float32": 3.0, "int8": 2.0, "int4": 5.0},
    "3": {"float32": 4.0, "int8": 6.0, "int4": 5.0},
    "4": {"float32": 9.0, "int8": 8.0, "int4": 7.0},
}
FASTEST = ["int8", "float32", "int4"]


@given(st.dictionaries(st.sampled_from(PRECISIONS), st.floats(0.1, 1e4), min_size=1))
def test_none_is_faster_than_the_fastest(times: dict[Precision, float]) -> None:
    best = choose({"6": times})["6"]
    assert all(times[best] <= time for time in times.values())


@pytest.fixture
def measured(bundled: Run, tmp_path: Path) -> Path:
    """A copy of an export with noted times."""
    shutil.copytree(bundled.export_folder("shared"), tmp_path / "export")
    save_fastest(tmp_path / "export", TIMES, threads=1, is_busy=False)
    return tmp_path / "export"


def test_each_size_has_its_fastest_precision_on_request(measured: Path) -> None:
    device = DeviceRecognizer.load(measured, precision="fastest")
    assert [size.precision for size in device.sizes] == FASTEST
    assert [size.file for size in device.sizes] == ["2.int8.onnx", "3.onnx", "4.int4.onnx"]
    samples = recordings()[0].numpy()
    for size in device.sizes:
        alone = DeviceRecognizer.load(measured, precision=size.precision)
        assert device.transcribe(samples, size=size.budget) == alone.transcribe(samples, size=size.budget)
    assert {size.precision for size in DeviceRecognizer.load(measured).sizes} == {"float32"}


def test_the_record_keeps_the_times_and_the_rest(measured: Path, bundled: Run) -> None:
    before = json.loads((bundled.export_folder("shared") / "export.json").read_text())
    record = json.loads((measured / "export.json").read_text())
    fastest = record.pop("fastest")
    assert record == before
    assert fastest["sizes"] == {
        size: {"precision": best, "ms": TIMES[size]} for size, best in zip(TIMES, FASTEST, strict=True)
    }
    assert (fastest["machine"], fastest["threads"], fastest["seconds"]) == (processor(), 1, 10)


@pytest.mark.parametrize(
    ("change", "threads", "message"),
    [
        (lambda found: None, 2, r"`precision` must be float32, int8 or int4 for .*not measured here"),
        (lambda found: found.update(machine="a board"), 1, "but on: a board, 1 thread"),
        (lambda found: found["sizes"].pop("3"), 1, "size '3' has no files, or no fastest one"),
        (lambda found: found["sizes"]["3"].update(precision="int2"), 1, "a `precision` is 'int2'"),
        (lambda found: found.update(sizes=[]), 1, "its `sizes` is not a mapping"),
        (lambda found: found.clear(), 1, "must be the record of an export"),
    ],
)
def test_what_was_not_measured_here_is_one_line(
    change: Callable[[Any], Any], threads: int, message: str, measured: Path
) -> None:
    record = json.loads((measured / "export.json").read_text())
    change(record["fastest"])
    (measured / "export.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=message) as error:
        DeviceRecognizer.load(measured, precision="fastest", threads=threads)
    assert "\n" not in str(error.value)
    assert DeviceRecognizer.load(measured, precision="int8").sizes


def test_without_a_measurement_or_with_another_word_the_precisions_are_named(bundled: Run) -> None:
    folder: Any = bundled.export_folder("shared")
    with pytest.raises(UserError, match=r"the fastest one was not measured\. To measure: supernet latency"):
        DeviceRecognizer.load(folder, precision="fastest")
    word: Any = "int2"
    with pytest.raises(UserError, match="must be one of float32, int8, int4, fastest, but is int2"):
        DeviceRecognizer.load(folder, precision=word)
