"""Cascades on a device decide as those of the recognizer in PyTorch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from supernet import Recognizer
from supernet.errors import ArgumentError, UserError
from supernet.runs.run import Run
from supernet.scoring.confidence import ALWAYS
from tests.supernet.talkative import recordings
from tests.test_documents import ROOT
from tests.test_manual import blocks

pytest.importorskip("onnxruntime", reason="needs the export extra")
from supernet.runtime import DeviceRecognizer

pytestmark = pytest.mark.slow

BUNDLES = ("shared", "on-demand")


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize("threshold", [None, 0.0, ALWAYS])
def test_decisions_and_confidences_are_those_of_pytorch(
    bundle: str, threshold: float | None, bundled: Run
) -> None:
    device = DeviceRecognizer.load(bundled.export_folder(bundle))
    expected = Recognizer.load(bundled.folder).cascade(2, 4, threshold=threshold)
    small, large = device.size("2"), device.size("4")
    sizes = []
    for samples in recordings():
        found = device.recognize(samples.numpy(), sizes=("2", "4"), threshold=threshold)
        result = expected.transcribe(samples, 16_000)
        assert found.text == result.text
        assert found.size is not None
        assert sum(found.size.kept) == result.size
        assert found.confidence == pytest.approx(result.confidence, abs=1e-5)
        assert found.macs == small.macs + (large.macs if found.size == large else 0)
        sizes.append(found.size.budget)
    assert sorted(sizes) == {None: ["2", "2", "4", "4"], 0.0: ["2"] * 4, ALWAYS: ["4"] * 4}[threshold]


@pytest.mark.usefixtures("guide_folder")
def test_the_python_of_the_manual_runs(capsys: pytest.CaptureFixture[str]) -> None:
    printed = list[object]()
    for _, code in blocks(ROOT / "docs" / "how-to" / "cascade.md", "python"):
        exec(code.replace("6, 12", "2, 4"), {})
        *text, confidence, size = capsys.readouterr().out.split()[: None if not printed else -1]
        printed.append((text, pytest.approx(float(confidence), abs=1e-5), size))
    assert len(printed) == 2
    assert printed[0] == printed[1]


def test_one_size_has_a_confidence_too_and_silence_has_none(bundled: Run) -> None:
    device, samples = DeviceRecognizer.load(bundled.export_folder("shared")), recordings()[0].numpy()
    expected = Recognizer.load(bundled.folder).use(4).transcribe(samples, 16_000)
    found = device.recognize(samples, sizes=(4,))
    assert (found.text, found.size) == (expected.text, device.size(4))
    assert found.confidence == pytest.approx(expected.confidence, abs=1e-5)
    assert device.recognize(samples, sizes=(3,)).confidence is None, "which was not calibrated"
    silence = device.recognize(np.zeros(8000, np.float32), sizes=(2, 4))
    assert (silence.text, silence.confidence, silence.size, silence.macs) == ("", None, None, 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"sizes": (4, 2)},
            "`sizes` must be two or more sizes, the smallest first, such as 6,12, but is 4,2",
        ),
        ({"sizes": ()}, "`sizes` must be two or more sizes"),
        ({"sizes": (2, 5)}, "`size` must be one of 2, 3, 4, but is 5"),
        ({"sizes": (2, 3)}, "`threshold` must be given for the cascade 2,3, as none was fitted"),
        ({"sizes": (2, 4), "threshold": -1.0}, "`threshold` must be at least 0, but is -1"),
    ],
)
def test_wrong_cascades_are_one_line(arguments: dict[str, Any], words: str, bundled: Run) -> None:
    device = DeviceRecognizer.load(bundled.export_folder("shared"))
    with pytest.raises(ArgumentError) as error:
        device.recognize(recordings()[0].numpy(), **arguments)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_calibration_is_an_error(bundled: Run, tmp_path: Path) -> None:
    shutil.copytree(bundled.export_folder("shared"), tmp_path / "export")
    file = tmp_path / "export" / "export.json"
    record = json.loads(file.read_text())
    steep: Any = {**record["confidence"], "sizes": {"2": {"slope": "steep", "offset": 0}}}
    for damaged in (dict[str, Any](), list[Any](), steep):
        file.write_text(json.dumps({**record, "confidence": damaged}))
        with pytest.raises(UserError, match="but its `confidence` has no calibration"):
            DeviceRecognizer.load(tmp_path / "export")
    file.write_text(json.dumps({key: value for key, value in record.items() if key != "confidence"}))
    with pytest.raises(ArgumentError, match="as none was fitted"):
        DeviceRecognizer.load(tmp_path / "export").recognize(recordings()[0].numpy(), sizes=(2, 4))
