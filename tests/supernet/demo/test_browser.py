"""The page in Chromium: the texts of every size, a microphone, keys, cascades, and no request elsewhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from supernet.commands.demo import write
from supernet.demo.onnxruntime_web import FILES
from supernet.demo.site import Content, Site, site_of
from supernet.runs.run import Run
from supernet.runtime.precision import Precision
from supernet.scoring.confidence import ALWAYS
from supernet.scoring.error_rates import score
from tests.supernet.demo.chromium import Browser, opened
from tests.supernet.demo.conftest import served
from tests.supernet.talkative import files_of_recordings, recordings

pytest.importorskip("onnxruntime", reason="needs the export extra")
from supernet.runtime import DeviceRecognizer

pytestmark = pytest.mark.slow

RESULTS = "import('./main.mjs').then((m) => Object.fromEntries(m.page.results))"
SAMPLES = "import('./main.mjs').then((m) => [...m.page.samples])"

UNDERLINED = (
    "[...document.querySelectorAll('#text mark:not(.gap)')]"
    ".map((mark) => getComputedStyle(mark).textDecorationLine)"
)


KINDS: tuple[tuple[str, Precision], ...] = (
    ("on-demand", "float32"),
    ("shared", "float32"),
    ("shared", "int4"),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return files_of_recordings(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def browser(ort: Path, files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose microphone hears one letter again and again."""
    folder = tmp_path_factory.mktemp("browser")
    soundfile.write(folder / "letter.wav", read(files[1]), 16_000)
    with opened(folder, f"--use-file-for-fake-audio-capture={folder / 'letter.wav'}") as found:
        yield found


@pytest.fixture(scope="module")
def sites(bundled: Run, ort: Path) -> dict[str, Site]:
    """The site for each kind of export."""
    runtime = {f"ort/{name}": Content(ort / name) for name in FILES}
    return {
        f"{name}, {precision}": {**site_of(bundled, bundled.export_folder(name), precision), **runtime}
        for name, precision in KINDS
    }


@pytest.fixture(scope="module")
def address(sites: dict[str, Site]) -> Iterator[str]:
    with served(sites["on-demand, float32"]) as found:
        yield found


@pytest.fixture
def page(browser: Browser, address: str) -> Browser:
    """The page of the export on demand, opened anew."""
    browser.open(address)
    return browser


@pytest.fixture(scope="module")
def device(bundled: Run) -> DeviceRecognizer:
    return DeviceRecognizer.load(bundled.export_folder("on-demand"))


def read(file: Path) -> Any:
    return soundfile.read(file, dtype="float32")[0]


@pytest.mark.parametrize(("bundle", "precision"), KINDS)
def test_every_size_writes_the_text_of_python(
    bundle: str,
    precision: Precision,
    browser: Browser,
    sites: dict[str, Site],
    files: list[Path],
    bundled: Run,
) -> None:
    device = DeviceRecognizer.load(bundled.export_folder(bundle), precision=precision)
    expected, actual = list[str](), list[str]()
    with served(sites[f"{bundle}, {precision}"]) as address:
        browser.open(address)
        for file in files:
            browser.choose(file)
            assert browser.run(SAMPLES) == read(file).tolist()
            results = browser.run(RESULTS)
            assert set(results) == {"2", "3", "4"}
            for size, result in results.items():
                found = device.recognize(read(file), sizes=(size,))
                expected.append(found.text)
                actual.append(" ".join(result["words"]))
                assert result["milliseconds"] > 0
                if precision == "float32":
                    assert result["probability"] == pytest.approx(found.confidence, abs=1e-4)
    if precision == "float32":
        assert actual == expected
    else:  # products of rounded weights are computed in other steps
        assert score(expected, actual).wer < 0.2


def test_the_written_files_work_on_another_server(
    browser: Browser, sites: dict[str, Site], files: list[Path], device: DeviceRecognizer, tmp_path: Path
) -> None:
    write(sites["shared, float32"], tmp_path / "page")
    words = ["http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path / "page")]
    with subprocess.Popen([sys.executable, "-u", "-m", *words], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        browser.open(server.stdout.readline().partition("(")[2].partition(")")[0])
        browser.choose(files[0])
        server.terminate()
    assert " ".join(browser.run(RESULTS)["3"]["words"]) == device.transcribe(read(files[0]), size="3")


def test_the_microphone_is_recognized_like_a_file(
    page: Browser, files: list[Path], device: DeviceRecognizer
) -> None:
    page.run("document.getElementById('record').click()")
    page.wait("recording")
    assert page.text("record") == "Stop"
    page.run("new Promise((done) => setTimeout(done, 1500))")
    page.run("document.getElementById('record').click()")
    page.wait("done")
    samples = np.array(page.run(SAMPLES), np.float32)
    # As loud as the letter, and at the same pitch.
    assert 0.2 < np.abs(samples).max() < 0.45
    assert abs(strongest(samples) - strongest(read(files[1]))) < 20
    for size, result in page.run(RESULTS).items():
        assert " ".join(result["words"]) == device.transcribe(samples, size=size)


def strongest(samples: Any) -> float:
    """The frequency with the most energy, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples))
    return float(spectrum.argmax() * 16_000 / len(samples))


def test_the_browser_asks_no_other_host(page: Browser, address: str, files: list[Path]) -> None:
    page.events.clear()
    page.open(address)
    page.choose(files[0])
    assert f"{address}/ort/{FILES[2]}" in page.requests
    assert {request for request in page.requests if not request.startswith(f"{address}/")} == set()


def test_the_policy_refuses_other_hosts_and_code_in_the_page(page: Browser) -> None:
    with served({"index.html": Content(b"elsewhere")}) as elsewhere:
        for address in (elsewhere, elsewhere.replace("127.0.0.1", "localhost")):
            refused = f"fetch({address!r}, {{mode: 'no-cors'}}).then(() => false, () => true)"
            assert page.run(refused)
    assert (
        page.run(
            "new Promise((done) => {"
            " addEventListener('securitypolicyviolation', (e) => done(e.effectiveDirective));"
            " const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
            " document.body.append(s); })"
        )
        == "script-src-elem"
    )
    assert page.run("window.ran") is None


def test_keys_move_the_slider_and_words_that_change_are_marked(page: Browser, files: list[Path]) -> None:
    page.choose(files[2])
    found = page.run(RESULTS)
    page.run("document.getElementById('size').focus()")
    seen, lines = [], set[str]()
    for _ in range(3):
        size = page.run("document.querySelector('tr[aria-current] th').textContent")
        words = page.run("document.getElementById('size').getAttribute('aria-valuetext')")
        assert words.startswith(f"Size {size}")
        assert page.text("text").replace("‸", " ").split() == found[size]["words"]
        differs = any(other["words"] != found[size]["words"] for other in found.values())
        assert bool(page.run("document.querySelectorAll('#text mark').length")) == differs
        assert page.run("document.getElementById('legend').hidden") != differs
        lines |= {*page.run(UNDERLINED)}
        seen.append(size)
        page.press("ArrowLeft", 37)
    assert seen == ["4", "3", "2"]
    assert lines == {"underline"}


@pytest.mark.parametrize("threshold", [None, 0.0, ALWAYS])
def test_the_cascade_decides_like_python(
    threshold: float | None, page: Browser, files: list[Path], device: DeviceRecognizer
) -> None:
    assert page.run("[...document.getElementById('cascade').options].map((o) => o.value)") == ["2,4"]
    if threshold is not None:
        page.run(
            f"(() => {{ const t = document.getElementById('threshold'); t.value = {threshold};"
            " t.dispatchEvent(new Event('input')); })()"
        )
    answers = set()
    for file in files:
        page.choose(file)
        expected = device.recognize(read(file), sizes=("2", "4"), threshold=threshold)
        assert expected.size is not None
        assert page.text("answer").startswith(f"Size {expected.size.budget} answers after ")
        assert page.text("answer").endswith(f" ms: {expected.text}")
        assert page.run("document.querySelectorAll('#stages li').length") == 1 + (expected.size.budget == "4")
        answers.add(expected.size.budget)
    assert answers == {None: {"2", "4"}, 0.0: {"2"}, ALWAYS: {"4"}}[threshold]


def test_all_controls_have_names_and_are_reached_by_tab(page: Browser, files: list[Path]) -> None:
    page.choose(files[0])
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = [
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]
    ]
    named = {
        role: name for role, name in roles if role in ("button", "slider", "combobox", "spinbutton", "table")
    }
    assert named["slider"] == "Size of the network"
    assert named["combobox"] == "Sizes"
    assert named["spinbutton"] == "Threshold"
    assert named["table"] == "All sizes"
    assert all(
        name for role, name in roles if role in ("button", "slider", "combobox", "spinbutton", "textbox")
    )
    page.run("document.activeElement.blur()")
    order = []
    for _ in range(6):
        page.press("Tab", 9)
        order.append(page.run("document.activeElement.id || document.activeElement.className"))
        assert page.run("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert order == ["record", "file", "size", "scroll", "cascade", "threshold"]


@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_is_wider_than_the_screen(width: int, page: Browser, files: list[Path]) -> None:
    options = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    page.call("Emulation.setDeviceMetricsOverride", **options)
    page.choose(files[2])
    assert page.run("document.documentElement.scrollWidth") <= width
    page.call("Emulation.clearDeviceMetricsOverride")


def test_silence_has_no_text(page: Browser, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(8000), 16_000)
    page.choose(tmp_path / "silence.wav")
    assert page.text("status") == "The recording is silent."
    assert (page.text("text"), page.text("answer")) == ("", "")


def test_only_the_beginning_of_a_long_recording_is_used(
    page: Browser, tmp_path: Path, device: DeviceRecognizer
) -> None:
    samples = np.tile(recordings()[0].numpy(), 80)[: 11 * 8000]
    soundfile.write(tmp_path / "long.wav", np.stack([samples, 0.5 * samples], axis=1), 8000)
    page.choose(tmp_path / "long.wav")
    assert page.text("status") == "Recognized 10.2 s. Only the first 10.2 s were used."
    found = np.array(page.run(SAMPLES), np.float32)
    assert len(found) == 256 * 640
    assert np.abs(found).max() == pytest.approx(0.75 * 0.3, rel=0.2), "channels are averaged"


def test_a_page_that_gets_no_microphone_says_why(page: Browser) -> None:
    page.run("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})")
    page.run("document.getElementById('record').click()")
    page.wait("failed")
    assert page.text("status").endswith("only to pages from localhost and over HTTPS")
    assert page.text("record") == "Record"


def test_a_file_that_is_no_recording_is_said(page: Browser, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(AssertionError, match="That failed: "):
        page.choose(tmp_path / "text.wav")
