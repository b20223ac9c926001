"""The recognizer for devices writes what the recognizer of the run writes, without PyTorch."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supernet import Recognizer
from supernet.audio.features import fbank
from supernet.errors import ArgumentError, UserError
from supernet.recognition.decoding import greedy
from supernet.runs.model_file import load
from supernet.runs.run import Run
from supernet.runtime.precision import PRECISIONS
from tests.supernet.imports import LISTED, imported
from tests.supernet.processes import run as run_process
from tests.supernet.talkative import TEXTS, recordings
from tests.test_documents import ROOT
from tests.test_manual import blocks

pytest.importorskip("onnxruntime", reason="needs the export extra")
from supernet.runtime import DeviceRecognizer

pytestmark = pytest.mark.slow

BUNDLES = ("shared", "on-demand")


@pytest.mark.parametrize("bundle", BUNDLES)
def test_every_size_writes_the_text_of_the_recognizer(bundle: str, bundled: Run) -> None:
    reference, device = Recognizer.load(bundled.folder), DeviceRecognizer.load(bundled.export_folder(bundle))
    assert [size.budget for size in device.sizes] == ["2", "3", "4"]
    found = {}
    for size in device.sizes:
        found[size.budget] = [device.transcribe(x.numpy(), size=size.budget) for x in recordings()]
        expected = [reference.use(size.budget).transcribe(x, 16_000).text for x in recordings()]
        assert found[size.budget] == expected
    assert len({*found["4"]}) == len(TEXTS), "each recording must be written another way"
    assert found["2"] != found["4"]
    assert [device.transcribe(x.numpy()) for x in recordings()] == found["4"]


def test_any_subnet_writes_the_text_of_pytorch(bundled: Run) -> None:
    device, model = DeviceRecognizer.load(bundled.export_folder("on-demand")), load(bundled.model_stem)
    assert device.units == tuple(unit.name for unit in model.recognizer.table.units)
    samples, found = recordings()[0], dict[tuple[bool, ...], str]()
    features = fbank(samples)
    for kept in itertools.product((False, True), repeat=4):
        if any(kept):
            found[kept] = device.transcribe(samples.numpy(), kept=kept)
            with torch.inference_mode():
                log_probs = model.recognizer.log_probs(features[None], [len(features)], kept)
            (text,) = greedy(log_probs, [log_probs.size(1)], model.tokens)
            assert found[kept] == " ".join(text.split())
    assert len({*found.values()}) > 4, "subnets must write different texts"
    assert device.transcribe(np.zeros(8000, np.float32), kept=[True] * 4) == ""


@pytest.mark.parametrize(
    ("bundle", "arguments", "message"),
    [
        ("on-demand", {"kept": [True] * 3}, "`kept` must have a boolean for each of the 4 units, but has 3."),
        ("on-demand", {"kept": []}, "`kept` must have a boolean for each of the 4 units, but has 0."),
        ("on-demand", {"kept": [True] * 4, "size": 2}, "`kept` must be given without `size`"),
        ("shared", {"kept": [True] * 4}, "`kept` must go with an export on demand, but"),
    ],
)
def test_a_subnet_that_the_export_cannot_run_is_one_line(
    bundle: str, arguments: dict[str, Any], message: str, bundled: Run
) -> None:
    device = DeviceRecognizer.load(bundled.export_folder(bundle))
    with pytest.raises(ArgumentError) as error:
        device.transcribe(recordings()[0].numpy(), **arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("bundle", BUNDLES)
def test_rounded_weights_are_used_on_request(bundle: str, bundled: Run) -> None:
    folder, samples = bundled.export_folder(bundle), recordings()[0].numpy()
    devices = [DeviceRecognizer.load(folder, precision=precision) for precision in PRECISIONS]
    assert [{size.precision for size in device.sizes} for device in devices] == [{p} for p in PRECISIONS]
    exact, int8, int4 = (device.log_probs(samples, "3") for device in devices)
    assert exact.shape == int8.shape == int4.shape
    assert 1e-3 < np.abs(exact - int8).mean() < np.abs(exact - int4).mean()


def test_no_process_that_recognizes_imports_pytorch_or_the_engine(bundled: Run, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "import numpy as np\n"
        "from supernet.runtime import DeviceRecognizer\n"
        "device = DeviceRecognizer.load(sys.argv[1])\n"
        "samples = np.load(sys.argv[2])\n"
        "print([device.transcribe(samples, size=size.budget) for size in device.sizes])\n"
        "device.fit(ms=1e6)\n"
    )
    samples = recordings()[0].numpy()
    np.save(tmp_path / "samples.npy", samples)
    folder = bundled.export_folder("on-demand")
    shutil.copytree(folder, tmp_path / "export")
    extra = LISTED | {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[3]}"}
    out, err = run_process("program", "export", "samples.npy", cwd=tmp_path, extra=extra, fresh=True)
    modules = {name.partition(".")[0] for name in imported(err)}
    assert {"numpy", "onnxruntime", "supernet"} <= modules
    assert not modules & {
        "torch",
        "torchaudio",
        "fairseq2",
        "lhotse",
        "pydantic",
        "yaml",
        "sentencepiece",
        "soundfile",
    }
    device = DeviceRecognizer.load(folder)
    assert out.strip() == str([device.transcribe(samples, size=size.budget) for size in device.sizes])


@pytest.mark.usefixtures("guide_folder")
def test_the_python_of_the_manual_runs(bundled: Run, capsys: pytest.CaptureFixture[str]) -> None:
    ((_, code),) = blocks(ROOT / "docs" / "how-to" / "several-sizes.md", "python")
    exec(code.replace("size=6", "size=2").replace("ms=20", "ms=60_000"), {})
    *sizes, small, best, half = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in sizes] == ["2", "3", "4"]
    reference = Recognizer.load(bundled.folder)
    device = DeviceRecognizer.load("RUN/export/on-demand")
    expected = [reference.use(size).transcribe("speech.wav").text for size in (2, 4)]
    first_two = device.transcribe(recordings()[0].numpy(), kept=[True, True, False, False])
    assert [small, best, half] == [*expected, first_two]


def test_samples_may_be_integers_or_have_channels(bundled: Run) -> None:
    device, samples = DeviceRecognizer.load(bundled.export_folder("on-demand")), recordings()[2].numpy()
    expected = device.transcribe(samples)
    whole = np.round(samples * 2**15).astype(np.int16)
    assert device.transcribe(whole) == device.transcribe(whole / np.float32(2**15))
    assert device.transcribe(np.stack([samples, samples], axis=1)) == expected


@pytest.mark.parametrize("count", [0, 1, 100, 399, 400, 401, 5000])
def test_short_and_silent_recordings_are_those_of_the_recognizer(count: int, bundled: Run) -> None:
    reference, device = (
        Recognizer.load(bundled.folder).use(4),
        DeviceRecognizer.load(bundled.export_folder("shared")),
    )
    loud = recordings()[0][2000 : 2000 + count]
    for samples in (loud, loud * 1e-5):
        assert device.transcribe(samples.numpy()) == reference.transcribe(samples, 16_000).text


def test_the_fitting_size_is_the_best_of_those_fast_enough(bundled: Run, tmp_path: Path) -> None:
    shutil.copytree(bundled.export_folder("on-demand"), tmp_path / "export")
    record = json.loads((tmp_path / "export" / "export.json").read_text())
    for size, rate in zip(record["sizes"], (0.3, 0.1, 0.2), strict=True):
        size["files"][0]["rate"] = rate
    (tmp_path / "export" / "export.json").write_text(json.dumps(record))
    device = DeviceRecognizer.load(tmp_path / "export")
    assert device.fit(ms=1e9, seconds=0.5).budget == "3"
    assert DeviceRecognizer.load(bundled.export_folder("shared")).fit(ms=1e9, seconds=0.5).budget == "4"
    with pytest.raises(ArgumentError, match=r"`ms` must be at least \d+\.\d, the time that the fastest size"):
        device.fit(ms=1e-9, seconds=0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.transcribe(np.zeros(500), size=5), "`size` must be one of 2, 3, 4, but is 5 instead"),
        (lambda d: d.transcribe(np.zeros(500), 8000), "`rate` must be 16000, but is 8000 instead"),
        (lambda d: d.transcribe(np.array([np.nan] * 500)), "`samples` must be finite floats or integers"),
        (lambda d: d.transcribe(np.zeros((2, 2, 2))), r"but are float64 of \(2, 2, 2\) instead"),
    ],
)
def test_wrong_arguments_are_named(
    call: Callable[[DeviceRecognizer], Any], message: str, bundled: Run
) -> None:
    with pytest.raises(ArgumentError, match=message):
        call(DeviceRecognizer.load(bundled.export_folder("on-demand")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record["sizes"][0]["files"][1].update(file="../model.onnx"), "must be the record"),
        (lambda record: record["sizes"][0].update(kept=["layers.9"]), "must be the record"),
        (lambda record: record.update(format="sherpa-onnx"), "must be the record"),
        (lambda record: record.pop("model"), "must be the record"),
        (lambda record: record["model"]["features"].update(kind="samples"), "must have a network that reads"),
        (
            lambda record: [size["files"].pop(1) for size in record["sizes"]],
            "`precision` must be one of float32, int4 for",
        ),
    ],
)
def test_a_damaged_record_is_an_error_that_names_it(
    change: Callable[[Any], Any], message: str, bundled: Run, tmp_path: Path
) -> None:
    record = json.loads((bundled.export_folder("on-demand") / "export.json").read_text())
    change(record)
    (tmp_path / "export.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=message):
        DeviceRecognizer.load(tmp_path, precision="int8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda record: record["model"]["tokens"]["symbols"].pop(),
            r"`log_probs` is .*, 6\] instead of .*, 5\]",
        ),
        (lambda record: record["model"]["kept"].append("layers.4"), r"`kept` is .*\[4\] instead of .*\[5\]"),
        (lambda record: record.update(format="shared"), "`kept` is .* instead of missing"),
        (lambda record: record["sizes"][1]["files"][0].update(file="3.onnx"), "3.onnx' must exist"),
        (
            lambda record: record["sizes"][0]["files"][0].update(file="export.json"),
            "must be a graph for onnx",
        ),
        (lambda record: record["sizes"][0].update(macs="many"), "its `macs` is not a whole number"),
        (lambda record: record["sizes"][0]["files"][0].update(rate="low"), "a `rate` is no error rate"),
        (lambda record: record["model"]["tokens"].update(kind="phones"), "its tokens are 'phones'"),
        (lambda record: record["sizes"].clear(), "it has no `sizes`"),
    ],
)
def test_a_record_of_another_graph_is_an_error_before_any_call(
    change: Callable[[Any], Any], message: str, bundled: Run, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        DeviceRecognizer.load(damaged(bundled, tmp_path, change))


def damaged(run: Run, folder: Path, change: Callable[[Any], Any]) -> Path:
    """An export of ``run`` with a changed record, in a new folder."""
    place = Path(tempfile.mkdtemp(dir=folder))
    for file in run.export_folder("on-demand").iterdir():
        (place / file.name).hardlink_to(file)
    record = json.loads((place / "export.json").read_text())
    change(record)
    (place / "export.json").unlink()
    (place / "export.json").write_text(json.dumps(record))
    return place


@pytest.mark.parametrize("name", ["export.json", "model.onnx"])
def test_a_link_that_leads_out_of_the_folder_is_an_error(name: str, bundled: Run, tmp_path: Path) -> None:
    place = damaged(bundled, tmp_path, lambda record: None)
    (place / name).rename(tmp_path / name)
    (place / name).symlink_to(tmp_path / name)
    with pytest.raises(UserError, match=rf"{name}' must not lead out of .*, but is a link to") as error:
        DeviceRecognizer.load(place)
    assert "\n" not in str(error.value)


def test_a_link_inside_the_folder_and_one_to_it_are_none(bundled: Run, tmp_path: Path) -> None:
    place = damaged(bundled, tmp_path, lambda record: None)
    (place / "model.onnx").rename(place / "another.onnx")
    (place / "model.onnx").symlink_to("another.onnx")
    (tmp_path / "link").symlink_to(place)
    assert DeviceRecognizer.load(tmp_path / "link").sizes


@st.composite
def changes(draw: st.DrawFn) -> Callable[[Any], None]:
    """A change of one value at any depth of a record: removed, or replaced by any other."""
    steps = draw(st.lists(st.integers(0, 30), min_size=1, max_size=6))
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    scalars |= st.sampled_from([10**400, -1, "\ud800", "../model.onnx", "tokens.txt", "model.int8.onnx"])
    new = draw(st.none() | st.just([]) | scalars | st.lists(scalars, max_size=3) | st.just({"file": "."}))
    removes = draw(st.booleans())

    def change(record: Any) -> None:
        place: Any = record
        for i, step in enumerate(steps):
            keys = [*place] if isinstance(place, dict) else [*range(len(place))]
            key = keys[step % len(keys)]
            if i + 1 == len(steps) or not isinstance(place[key], (dict, list)) or not place[key]:
                break
            place = place[key]
        if removes:
            del place[key]
        else:
            place[key] = new

    return change


@given(changes())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damaged_record_is_an_error_or_recognizes(
    bundled: Run, tmp_path: Path, change: Callable[[Any], None]
) -> None:
    place = damaged(bundled, tmp_path, change)
    samples = recordings()[0].numpy()
    device = None
    with contextlib.suppress(UserError):
        device = DeviceRecognizer.load(place)
    if device is not None:
        for size in device.sizes:
            device.transcribe(samples, size=size.budget).encode()
        assert device.fit(ms=1e9, seconds=0.1) in device.sizes


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"\xff", b"[]", b"1", b'{"format": "shared"}'])
def test_other_content_than_a_record_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "export.json").write_bytes(content)
    with pytest.raises(UserError, match=r"export\.json' must be the record of an export"):
        DeviceRecognizer.load(tmp_path)


def test_a_folder_without_an_export_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"export\.json' must be readable, but is not: No such file"):
        DeviceRecognizer.load(tmp_path)


def test_threads_share_a_recognizer(bundled: Run) -> None:
    from concurrent.futures import ThreadPoolExecutor

    device = DeviceRecognizer.load(bundled.export_folder("on-demand"))
    work = [(x.numpy(), size) for x in recordings() for size in ("2", "3", "4")]
    alone = [device.transcribe(samples, size=size) for samples, size in work]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda one: device.transcribe(one[0], size=one[1]), work)) == alone


@pytest.mark.parametrize("bundle", BUNDLES)
def test_recordings_that_are_too_long_for_the_network_are_one_line(bundle: str, bundled: Run) -> None:
    """It has positions for 256 frames of 40 ms."""
    device = DeviceRecognizer.load(bundled.export_folder(bundle))
    samples = np.random.default_rng(0).normal(0, 0.1, 11 * 16_000).astype(np.float32)
    device.transcribe(samples[: 10 * 16_000])
    with pytest.raises(ArgumentError, match=r"^`samples` must last at most 10.24 s.*last 11.0 s: [^\n]*$"):
        device.transcribe(samples)


def test_rounded_weights_that_compute_something_else_are_refused(bundled: Run, tmp_path: Path) -> None:
    """As int8 does with some releases of onnxruntime on some processors; here, its weights are reversed."""
    shutil.copytree(bundled.export_folder("shared"), tmp_path / "shared")
    DeviceRecognizer.load(tmp_path / "shared", precision="int8")
    file = tmp_path / "shared" / "2.int8.onnx"
    weights = file.with_name("weights.int8.bin")
    weights.write_bytes(bytes(reversed(weights.read_bytes())))
    with pytest.raises(UserError, match=rf"^'{file}' must not be used here[^\n]*$"):
        DeviceRecognizer.load(tmp_path / "shared", precision="int8")
    file.with_name("2.onnx").unlink()  # without weights in float32, nothing is known
    DeviceRecognizer.load(tmp_path / "shared", precision="int8")
