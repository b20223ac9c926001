"""Networks from a server of Hugging Face on this machine, as the library's own client downloads them."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from supernet import Recognizer
from supernet.errors import UserError
from supernet.pretrained.hub import downloaded
from tests.supernet.pretrained.folders import VARIANTS, write

COMMIT = "0" * 40


class Hub(BaseHTTPRequestHandler):
    """The few answers of a server of Hugging Face that a download needs."""

    folder: Path
    asked: list[str]
    failed: set[str]

    def do_HEAD(self) -> None:
        self._send(with_body=False)

    def do_GET(self) -> None:
        self._send(with_body=True)

    def _send(self, *, with_body: bool) -> None:
        files = [
            file.relative_to(self.folder).as_posix() for file in self.folder.rglob("*") if file.is_file()
        ]
        _, _, wanted = self.path.partition(f"/resolve/{COMMIT}/")
        if self.path.endswith("/revision/fails-once") and self.path not in self.failed:
            self.failed.add(self.path)
            self.send_error(500)
        elif self.path.startswith("/api/models/me/small"):
            siblings = [{"rfilename": name} for name in files]
            self._answer(json.dumps({"id": "me/small", "sha": COMMIT, "siblings": siblings}).encode(), True)
        elif wanted in files:
            self.asked.append(wanted)
            self._answer((self.folder / wanted).read_bytes(), with_body)
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _answer(self, content: bytes, with_body: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, format: str, *values: object) -> None: ...


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path, list[str]]]:
    """The address of the server, the folder of the only repository, me/small, and the files asked for."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    folder, asked = tmp_path / "repository", list[str]()
    write(folder / "6", VARIANTS["wav2vec2-base"])
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Handler", (Hub,), {"folder": folder, "asked": asked, "failed": set[str]()})
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder, asked
    server.shutdown()
    server.server_close()


def test_a_network_is_downloaded_once_and_recognizes_like_its_folder(
    hub: tuple[str, Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder, asked = hub
    (folder / "6" / "code.py").write_text("raise SystemExit")
    (folder / "6" / "weights.bin").write_bytes(b"")
    (folder / "other.safetensors").write_bytes(b"")
    place = downloaded("me/small", "6", endpoint=address)
    assert {Path(name).suffix for name in asked} == {".json", ".safetensors"}
    assert all(name.startswith("6/") for name in asked)
    samples = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    texts = [Recognizer.load(found).transcribe(samples, 16000).text for found in (place, folder / "6")]
    assert texts[0] == texts[1] != ""
    count = len(asked)
    assert downloaded("me/small", "6", endpoint=address) == place
    assert len([name for name in asked[count:] if name.endswith(".safetensors")]) == 0


def test_without_the_server_the_cache_serves(hub: tuple[str, Path, list[str]]) -> None:
    address, folder, _ = hub
    place = downloaded("me/small", "6", endpoint=address)
    shutil.rmtree(folder)
    assert downloaded("me/small", "6", COMMIT, "http://127.0.0.1:9") == place


def test_nothing_is_downloaded_from_a_server_that_fails_to_list_its_files(
    hub: tuple[str, Path, list[str]],
) -> None:
    address, _, asked = hub
    with pytest.raises(UserError, match="cannot be had: "):
        downloaded("me/small", "6", "fails-once", address)
    assert asked == []


def test_a_folder_on_this_machine_is_loaded_as_it_is(hub: tuple[str, Path, list[str]]) -> None:
    _, folder, asked = hub
    assert Recognizer.from_pretrained(folder, subfolder="6").size == Recognizer.load(folder / "6").size
    assert asked == []


@pytest.mark.parametrize("name", ["me/other", "a/b/c", "me/small"])
def test_what_cannot_be_had_is_an_error_in_a_line(name: str, hub: tuple[str, Path, list[str]]) -> None:
    address = hub[0] if name != "me/small" else "http://127.0.0.1:9"
    with pytest.raises(UserError, match=f"^`name` must be .* but '{name}' cannot be had: ") as e:
        downloaded(name, endpoint=address)
    assert "\n" not in str(e.value)
