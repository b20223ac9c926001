"""The recipes for serving work as the page shows them, with the programs that it names."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import soundfile

from supernet.runs.run import Run
from tests.supernet.talkative import recordings
from tests.test_documents import ROOT
from tests.test_manual import blocks

pytest.importorskip("onnxruntime", reason="needs the export extra")
from supernet.runtime import DeviceRecognizer

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "how-to" / "serve.md"
PROGRAMS = dict(blocks(PAGE, "python"))
SERVER = "sherpa-onnx-offline-websocket-server"
AUDIO = {"Content-Type": "audio/wav"}
_SECONDS = 60


@pytest.fixture
def place(bundled: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the run as RUN, and recordings."""
    (tmp_path / "RUN").symlink_to(bundled.folder)
    for i, samples in enumerate(recordings()):
        soundfile.write(tmp_path / f"{i}.wav", samples.numpy(), 16_000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def device(place: Path, export: str, precision: Any = "float32") -> DeviceRecognizer:
    return DeviceRecognizer.load(place / "RUN" / "export" / export, precision=precision)


def fastapi_client() -> Any:
    """A client of the server on the page."""
    pytest.importorskip("httpx")
    testing = pytest.importorskip("fastapi.testclient")
    scope: dict[str, Any] = {}
    exec(PROGRAMS["server.py"], scope)
    return testing.TestClient(scope["app"])


def test_fastapi_serves_every_size_and_cascades(place: Path) -> None:
    client, expected = fastapi_client(), device(place, "on-demand", "int8")
    assert [row["size"] for row in client.get("/sizes").json()] == ["2", "3", "4"]
    for file in sorted(place.glob("*.wav")):
        samples, rate = soundfile.read(file, dtype="float32")
        for query in ({}, {"sizes": "2"}, {"sizes": "2,4"}, {"sizes": "2,4", "threshold": "1.01"}):
            answer = client.post("/transcribe", content=file.read_bytes(), params=query, headers=AUDIO).json()
            threshold = float(query["threshold"]) if "threshold" in query else None
            sizes = query.get("sizes", "4").split(",")
            found = expected.recognize(samples, rate, sizes=sizes, threshold=threshold)
            size = found.size and found.size.budget
            assert answer == {
                "text": found.text,
                "confidence": found.confidence,
                "size": size,
                "macs": found.macs,
            }


def test_fastapi_refuses_what_cannot_be_recognized(place: Path) -> None:
    client, slow = fastapi_client(), io.BytesIO()
    soundfile.write(slow, recordings()[0].numpy(), 8000, format="WAV")
    right = (place / "0.wav").read_bytes()
    for content, query, words in (
        (right, {"sizes": "7"}, "`size` must be one of 2, 3, 4"),
        (right, {"sizes": "2,3"}, "`threshold` must be given"),
        (b"no audio", {}, "Format not recognised"),
        (slow.getvalue(), {}, "`rate` must be 16000, but is 8000"),
    ):
        answer = client.post("/transcribe", content=content, params=query, headers=AUDIO)
        assert answer.status_code == 422
        assert words in answer.json()["detail"]


def test_the_websocket_server_of_sherpa_onnx_writes_the_same_texts(place: Path) -> None:
    pytest.importorskip("websockets")
    (place / "client.py").write_text(PROGRAMS["client.py"])
    expected = device(place, "shared", "int8")
    with served(free_port()) as port:
        for file in sorted(place.glob("*.wav")):
            program = (place / "client.py").read_text().replace("6006", str(port))
            done = subprocess.run([sys.executable, "-c", program, file], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert done.stdout.strip() == expected.transcribe(*soundfile.read(file), size="2")


@contextmanager
def served(port: int) -> Iterator[int]:
    """The server as the page starts it, with the smallest size."""
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if (program := shutil.which(SERVER, path=beside)) is None:
        pytest.skip("needs sherpa-onnx-bin")
    (shown,) = (text for _, text in blocks(PAGE, "bash") if SERVER in text)
    words = shown[shown.index(SERVER) :].replace("\\\n", " ").split()[1:]
    words = [word.replace("6006", str(port)).replace("/6.int8", "/2.int8") for word in words]
    process = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + _SECONDS
        while not is_open(port):
            assert process.poll() is None, "the server must run"
            assert time.monotonic() < end, "the server must listen"
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
