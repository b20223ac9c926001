"""The files of the page, of an export that may be a stranger's, and of onnxruntime-web."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from supernet.demo import __main__ as command
from supernet.demo import onnxruntime_web
from supernet.demo.onnxruntime_web import FILES, Package, cached_folder, given_folder
from supernet.demo.site import PAGE, POLICY, Content, site_of
from supernet.errors import UserError
from supernet.runs.run import Run
from supernet.runtime.precision import Precision
from tests.supernet.demo.conftest import served
from tests.supernet.processes import start

pytest.importorskip("onnxruntime", reason="needs the export extra")


@pytest.fixture
def copied(bundled: Run, tmp_path: Path) -> Run:
    """A copy of the run, whose exports are links."""
    shutil.copytree(bundled.folder, tmp_path / "run", ignore=shutil.ignore_patterns("export"))
    for bundle in ("shared", "on-demand"):
        (tmp_path / "run" / "export" / bundle).mkdir(parents=True)
        for file in bundled.export_folder(bundle).iterdir():
            (tmp_path / "run" / "export" / bundle / file.name).hardlink_to(file)
    return Run(tmp_path / "run")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder that looks like the package."""
    (tmp_path / "package" / "dist").mkdir(parents=True)
    for name in FILES:
        (tmp_path / "package" / "dist" / name).write_bytes(name.encode())
    return tmp_path / "package"


def facts(run: Run, bundle: str = "on-demand", precision: Precision = "float32") -> Any:
    return json.loads(site_of(run, run.export_folder(bundle), precision)["demo.json"].read())


def change(file: Path, edit: Any) -> None:
    """Replace a JSON file, which may be a link, by a changed one."""
    data = json.loads(file.read_text())
    edit(data)
    file.unlink()
    file.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("bundle", "precision", "files"),
    [
        ("on-demand", "float32", {"model.onnx"}),
        ("on-demand", "int8", {"model.int8.onnx"}),
        ("shared", "float32", {"2.onnx", "3.onnx", "4.onnx", "weights.bin"}),
        ("shared", "int4", {"2.int4.onnx", "3.int4.onnx", "4.int4.onnx", "weights.int4.bin"}),
    ],
)
def test_the_site_has_what_the_page_loads(
    bundle: str, precision: Precision, files: set[str], bundled: Run
) -> None:
    site = site_of(bundled, bundled.export_folder(bundle), precision)
    assert {path for path in site if path.startswith("export/")} == {f"export/{name}" for name in files}
    assert {size["file"] for size in facts(bundled, bundle, precision)["sizes"]} <= files
    page = site["index.html"].read().decode()
    assert f'content="{POLICY}"' in page
    named = set(re.findall(r'(?:src|href)="([^"]*)"', page))
    for path in (path for path in site if path.endswith(".mjs")):
        named |= set(
            re.findall(r'(?:from|addModule\(|fetch\()\s?"(?:\./)?(.*?)"', site[path].read().decode())
        )
    assert named - {*site} == {"ort/ort.wasm.min.mjs"}
    assert {"main.mjs", "style.css", "tap.mjs", "demo.json", "log_mel.mjs"} <= named


def test_the_page_names_no_other_host() -> None:
    for file in PAGE.iterdir():
        assert set(re.findall(r"\w+://[^\s\"']*", file.read_text())) <= {"http://www.w3.org/2000/svg"}, file


def test_error_rates_are_those_of_the_export_or_else_of_the_run(copied: Run) -> None:
    assert [size["rate"] for size in facts(copied)["sizes"]] == [None] * 3
    score = {
        "wer": 0.2,
        "cer": 0.1,
        "wer_ci95": [0, 1],
        "cer_ci95": [0, 1],
        "words": 9,
        "utterances": 3,
        "measure": "cer",
    }
    kept = [f"layers.{i}" for i in range(3)]
    row = {"kept": kept, "params": 1, "macs": 1, "rtf": 0.1, "test": score}
    copied.results_file.write_text(json.dumps({"title": "run", "sizes": {"3": row}}))
    found = facts(copied)
    assert ([size["rate"] for size in found["sizes"]], found["measure"]) == ([None, 0.1, None], "cer")
    record = copied.export_folder("on-demand") / "export.json"
    change(record, lambda data: data["sizes"][1]["files"][0].update(rate=0.15))
    assert [size["rate"] for size in facts(copied)["sizes"]] == [None, 0.15, None]
    assert [size["units"] for size in facts(copied)["sizes"]] == ["0-1", "0-2", "0-3"]


def test_confidences_of_the_export_travel(bundled: Run) -> None:
    found = facts(bundled)["confidence"]
    assert (found["measure"], set(found["calibrations"]), set(found["thresholds"])) == (
        "tsallis",
        {"2", "4"},
        {"2,4"},
    )


def test_names_of_a_stranger_cannot_control_the_page(copied: Run) -> None:
    def rename(data: Any) -> None:
        data["sizes"][0]["budget"] = "\u202e</script><b>\x1b"
        data["model"]["kept"] = [f"{name}\x1b" for name in data["model"]["kept"]]
        for size in data["sizes"]:
            size["kept"] = [f"{name}\x1b" for name in size["kept"]]

    change(copied.export_folder("on-demand") / "export.json", rename)
    first = facts(copied)["sizes"][0]
    assert first["budget"] == "\\u202e</script><b>\\x1b"
    assert "\x1b" not in first["units"]


def test_a_link_to_a_file_elsewhere_is_not_published(copied: Run, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes((copied.export_folder("shared") / "weights.bin").read_bytes())
    weights = copied.export_folder("shared") / "weights.bin"
    weights.unlink()
    with pytest.raises(UserError, match=r"weights\.bin' must exist"):
        facts(copied, "shared")
    weights.symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match=r"weights\.bin"):
        facts(copied, "shared")


def test_a_damaged_graph_is_an_error_of_the_command(copied: Run) -> None:
    graph = copied.export_folder("on-demand") / "model.onnx"
    graph.unlink()
    graph.write_bytes(b"no graph")
    with pytest.raises(UserError, match="must be a graph for onnxruntime"):
        facts(copied)


def test_the_written_folder_is_the_site(
    bundled: Run, package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page"
    command.main(
        [str(bundled.folder), "--onnxruntime-web", str(package), "--precision", "int8", "--out", str(out)]
    )
    site = site_of(bundled, bundled.export_folder("on-demand"), "int8")
    expected = {path: content.read() for path, content in site.items()}
    expected |= {f"ort/{name}": name.encode() for name in FILES}
    written = {path for path in out.rglob("*") if path.is_file()}
    assert {path.relative_to(out).as_posix(): path.read_bytes() for path in written} == expected
    assert str(out) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "package"], "`--out` must not exist yet, but 'package' does."),
        (["--export", "nowhere"], "'nowhere/export.json' must be readable, but is not"),
        (["--onnxruntime-web", "run"], "must be the folder of the npm package onnxruntime-web"),
        (["--onnxruntime-web", "package", "--port", "70000"], "`--port` must be at most 65535, but is 70000"),
        (["--port", "-1"], "`--port` must be at least 0, but is -1 instead."),
    ],
)
def test_wrong_options_are_one_line(
    options: list[str],
    words: str,
    copied: Run,
    package: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(copied.folder.parent)
    with pytest.raises(SystemExit) as end:
        command.main(["run", *options])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_port_in_use_is_one_line(bundled: Run, package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served({}) as address, pytest.raises(SystemExit):
        command.main(
            [str(bundled.folder), "--onnxruntime-web", str(package), "--port", address.rpartition(":")[2]]
        )
    assert re.search(
        r"`--port` must be free, but \d+ is in use\. 0 is any free one\.\n$", capsys.readouterr().err
    )


def test_the_command_serves_until_ctrl_c(bundled: Run, package: Path, tmp_path: Path) -> None:
    words = ["supernet.demo", str(bundled.folder), "--onnxruntime-web", str(package), "--port", "0"]
    process = start(words, tmp_path)
    address = process.stdout.readline().split()[0]
    with urlopen(f"{address}ort/{FILES[0]}") as answer:
        assert answer.read() == FILES[0].encode()
    process.send_signal(signal.SIGINT)
    assert process.communicate(60)[1] == "Stopped.\n"
    assert process.returncode == 130


def test_a_run_without_an_export_suggests_the_command(
    copied: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copied.exports)
    with pytest.raises(SystemExit):
        command.main([str(copied.folder)])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"To make one: python -m supernet.export {copied.folder} --on-demand --int8")


def archive(folder: Path) -> bytes:
    """The package as registries have it."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as members:
        members.add(folder, "package")
    return content.getvalue()


@pytest.fixture
def registry(package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[bytes]:
    """A registry with the package as version 1.2.3, which npm's variable names."""
    monkeypatch.setenv("SUPERNET_CACHE", str(tmp_path / "cache"))
    content = archive(package)
    with served({"onnxruntime-web/-/onnxruntime-web-1.2.3.tgz": Content(content)}) as address:
        monkeypatch.setenv("npm_config_registry", f"{address}/")
        yield content


def checksum(content: bytes) -> str:
    return base64.b64encode(hashlib.sha512(content).digest()).decode()


def test_the_package_is_downloaded_once(registry: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    told = list[str]()
    wanted = Package("1.2.3", checksum(registry))
    folder = cached_folder(told.append, wanted)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        name: name.encode() for name in FILES
    }
    assert len(told) == 1
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:1")
    assert cached_folder(told.append, wanted) == folder
    assert len(told) == 1


@pytest.mark.parametrize(
    ("version", "content", "address", "words"),
    [
        ("1.2.3", b"another", None, "must be onnxruntime-web 1.2.3, but has another SHA-512 checksum"),
        ("1.2.4", b"", None, "must be reachable, but is not: HTTP Error 404"),
        ("1.2.3", b"", "http://127.0.0.1:1", "must be reachable, but is not: "),
        ("1.2.3", b"", "file:///etc", "npm_config_registry must be an address with https"),
    ],
)
def test_another_package_is_not_kept(
    version: str,
    content: bytes,
    address: str | None,
    words: str,
    registry: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if address is not None:
        monkeypatch.setenv("npm_config_registry", address)
    wanted = Package(version, checksum(content))
    with pytest.raises(UserError, match=re.escape(words)):
        cached_folder(package=wanted)
    assert not wanted.folder.exists()


def test_a_given_package_may_be_its_folder_of_files(package: Path) -> None:
    assert given_folder(package) == given_folder(package / "dist") == package / "dist"


def test_the_pinned_package_is_a_version_with_its_checksum() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", onnxruntime_web.PINNED.version)
    assert len(base64.b64decode(onnxruntime_web.PINNED.integrity)) == 64
