"""Publishing: what would be uploaded, the folder made of it, and uploads to a server on this machine."""

from __future__ import annotations

import base64
import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from huggingface_hub import ModelCard

from supernet import Recognizer
from supernet.cut import main as cut
from supernet.errors import UserError
from supernet.export.__main__ import main as export
from supernet.export.publishing import assemble, parcels_of, upload
from supernet.push import main as push
from supernet.runs.run import Run
from tests.supernet.pretrained.folders import VARIANTS, write


@pytest.fixture
def small(finished: tuple[Run, str], tmp_path: Path) -> Path:
    cut([str(finished[0].folder), "--size", "2", "--out", str(tmp_path / "small")])
    return tmp_path / "small"


def exported(folder: Path) -> Path:
    """A run with an export of each of two sizes for `transformers`."""
    write(folder / "mine", VARIANTS["wav2vec2-large"])
    (folder / "mine" / "README.md").write_text("---\nlicense: mit\n---\n")
    run = Run(folder / "run")
    run.exports.mkdir(parents=True)
    run.config_file.write_text("{}")
    for kept in (["layers.0", "layers.3"], ["layers.0"]):
        file, out = folder / "kept.json", run.export_folder(f"greedy-params={25 * len(kept)}%")
        file.write_text(json.dumps({"format": 1, "granularity": "layer", "kept": kept}))
        words = ["--selection", str(file), "--unchecked", "--format", "huggingface", "--out", str(out)]
        export([str(folder / "mine"), *words])
    return run.folder


def test_a_size_in_two_formats_has_its_error_rates_once(finished: tuple[Run, str], tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(finished[0].folder, run.folder, ignore=shutil.ignore_patterns("export"))
    for format in ("torch", "onnx"):
        pytest.importorskip("onnxruntime", reason="needs the export extra")
        out = str(run.export_folder(f"2-{format}"))
        export([str(run.folder), "--size", "2", "--unchecked", "--format", format, "--out", out])
    push([str(run.folder), "--out", str(tmp_path / "all")])
    results = ModelCard.load(tmp_path / "all" / "README.md").data.eval_results
    assert [x.metric_type for x in results] == ["wer", "cer"]


def lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def test_by_default_nothing_is_uploaded_but_listed(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(small.rglob("*"))
    push([str(small), "--to", "me/small"])
    printed = capsys.readouterr().out
    for file in small.iterdir():
        assert file.name in printed
    assert "license: unknown: set --license" in printed
    assert "Nothing was uploaded." in printed
    assert sorted(small.rglob("*")) == before


def test_only_files_of_cuts_and_exports_are_published(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"a": torch.zeros(1)}, small / "pytorch_model.bin")
    (small / "weights.pt").write_bytes(b"")
    (tmp_path / "secret.txt").write_text("secret")
    os.symlink(tmp_path / "secret.txt", small / "notes.txt")
    push([str(small), "--out", str(tmp_path / "all"), "--license", "mit"])
    names = {file.name for file in (tmp_path / "all").rglob("*")}
    assert names == {"README.md", "model.json", "model.safetensors", "tokens.txt"}
    left_out = capsys.readouterr()
    for name in ("pytorch_model.bin", "weights.pt", "notes.txt"):
        assert f"{name}' is left out" in left_out.out + left_out.err
    assert Recognizer.load(tmp_path / "all").size == 2
    card = ModelCard.load(tmp_path / "all" / "README.md")
    assert card.data.license == "mit"
    assert lines(card.text, "- License") == ["- License: mit"]
    assert "- License: unknown" in (small / "README.md").read_text()


def test_every_size_has_a_folder_that_transformers_loads_and_one_card_for_all(tmp_path: Path) -> None:
    run = exported(tmp_path)
    push([str(run), "--out", str(tmp_path / "all")])
    places = {place.name for place in (tmp_path / "all").iterdir() if place.is_dir()}
    assert len(places) == 2
    layers = set()
    for place in places:
        model = transformers.AutoModelForCTC.from_pretrained(tmp_path / "all", subfolder=place)
        layers.add(model.config.num_hidden_layers)
    assert layers == {1, 2}
    card = ModelCard.load(tmp_path / "all" / "README.md")
    assert card.data.license == "mit"
    for place in places:
        assert f"## [{place}]({place})" in card.text


class Hub(BaseHTTPRequestHandler):
    """The few answers of a server of Hugging Face that an upload needs."""

    received: dict[str, Any]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        address = f"http://{self.headers['Host']}/me/small"
        answer: dict[str, Any] = {"errors": [], "warnings": []}
        if self.path == "/api/repos/create":
            self.received["repository"] = json.loads(body)
            answer = {"url": address}
        elif self.path.endswith("/preupload/main"):
            paths = [file["path"] for file in json.loads(body)["files"]]
            modes = {"uploadMode": "regular", "shouldIgnore": False}
            answer = {"files": [{"path": path, **modes} for path in paths]}
        elif self.path.endswith("/commit/main"):
            entries = [json.loads(line) for line in body.splitlines() if line]
            files = [entry["value"] for entry in entries if entry["key"] == "file"]
            self.received["files"] = {x["path"]: base64.b64decode(x["content"]) for x in files}
            answer = {"commitUrl": "https://huggingface.co/me/small/commit/0", "commitOid": "0"}
        self._answer(200, answer)

    def do_GET(self) -> None:
        self._answer(404, {"error": "not found"})

    def _answer(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *values: object) -> None: ...


@pytest.fixture
def hub() -> Iterator[tuple[str, dict[str, Any]]]:
    received: dict[str, Any] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Hub,), {"received": received}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", received
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("private", [True, False])
def test_an_upload_sends_exactly_the_folder(
    small: Path, tmp_path: Path, hub: tuple[str, dict[str, Any]], private: bool
) -> None:
    address, received = hub
    assemble(parcels_of(small), tmp_path / "all", "small", "mit")
    assert upload(tmp_path / "all", "me/small", private, address).endswith("/me/small")
    assert received["repository"] == {"name": "small", "organization": "me", "private": private}
    here = (file for file in (tmp_path / "all").rglob("*") if file.is_file())
    files = {file.relative_to(tmp_path / "all").as_posix(): file.read_bytes() for file in here}
    assert received["files"] == files


def test_a_server_that_cannot_be_reached_is_an_error_in_a_line(small: Path, tmp_path: Path) -> None:
    assemble(parcels_of(small), tmp_path / "all", "small", None)
    with pytest.raises(UserError, match=r"^'me/small' must accept the files, but does not: ") as e:
        upload(tmp_path / "all", "me/small", True, "http://127.0.0.1:9")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "`--to` must name a repository, or `--out` a folder, but neither is given."),
        (["--to", "small"], "`--to` must be a user and a name, such as me/small-model, but is 'small'"),
        (["--out", "all", "--upload"], "`--upload` must come with `--to`"),
        (["--to", "me/small", "--upload"], "`--license` must name the license of"),
        (["--out", "small"], "`--out` must be a new or empty folder"),
    ],
)
def test_wrong_requests_are_refused_in_a_line(
    words: list[str],
    problem: str,
    small: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(small.parent)
    with pytest.raises(SystemExit) as end:
        push(["small", *words])
    assert end.value.code == 2
    (line,) = lines(capsys.readouterr().err, "error:")
    assert problem in line


def test_a_folder_without_exports_is_refused(
    finished: tuple[Run, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    run.config_file.write_text("{}")
    for folder, problem in ((run.folder, "has none yet: export its sizes first"), (tmp_path, "is none")):
        with pytest.raises(SystemExit):
            push([str(folder), "--to", "me/small"])
        assert problem in capsys.readouterr().err
