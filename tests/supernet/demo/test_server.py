"""The server has the paths of the site, and nothing else, for this machine only."""

from __future__ import annotations

import socket
import struct
import threading
import time
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from supernet.demo.server import server_of
from supernet.demo.site import POLICY, Content
from tests.supernet.demo.conftest import served

SITE = {
    "index.html": Content(b"<!DOCTYPE html>"),
    "main.mjs": Content(b"export {};"),
    "export/model.onnx": Content(b"\0\1"),
    "ort/x.wasm": Content(b"\0asm"),
}


def answer(address: str, path: str, method: str = "GET", host: str | None = None) -> HTTPResponse:
    parts = urlsplit(address)
    connection = HTTPConnection(parts.hostname or "", parts.port)
    connection.putrequest(method, path, skip_host=host is not None)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    return connection.getresponse()


@pytest.mark.parametrize(
    ("path", "name", "kind"),
    [
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/index.html?size=6", "index.html", "text/html; charset=utf-8"),
        ("/main.mjs", "main.mjs", "text/javascript; charset=utf-8"),
        ("/export/model.onnx", "export/model.onnx", "application/octet-stream"),
        ("/ort/x.wasm", "ort/x.wasm", "application/wasm"),
    ],
)
def test_paths_of_the_site_have_their_content_and_type(path: str, name: str, kind: str) -> None:
    with served(SITE) as address:
        found, head = answer(address, path), answer(address, path, "HEAD")
        assert (found.status, found.read(), found.headers["Content-Type"]) == (200, SITE[name].read(), kind)
        assert (head.status, head.read(), head.headers["Content-Type"]) == (200, b"", kind)
        assert found.headers["Content-Security-Policy"] == f"{POLICY}; frame-ancestors 'none'"
        assert found.headers["X-Content-Type-Options"] == "nosniff"
        assert found.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert found.headers["Cross-Origin-Embedder-Policy"] == "require-corp"


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/export",
        "/export/",
        "/../site.py",
        "/export/../../site.py",
        "/%2e%2e/site.py",
        "//etc/passwd",
        "/export/%2e%2e%2findex.html",
        "/%00",
        "/\\..\\site.py",
    ],
)
def test_other_paths_do_not_exist(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    with served(SITE) as address:
        assert answer(address, path).status == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", ""])
def test_pages_of_other_hosts_read_nothing(host: str) -> None:
    with served(SITE) as address:
        assert answer(address, "/", host=host).status == 421
        assert answer(address, "/", host="localhost:1").status == 200


def test_other_methods_are_refused() -> None:
    with served(SITE) as address:
        assert answer(address, "/", "POST").status == 501


def test_only_the_loopback_interface_is_bound() -> None:
    with server_of(SITE, 0) as server:
        assert server.socket.getsockname()[0] == "127.0.0.1"
        assert server.socket.family == socket.AF_INET


def test_a_browser_that_goes_away_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    with served({"large": Content(bytes(1 << 26)), **SITE}) as address:
        parts = urlsplit(address)
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.sendall(b"GET /large HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert connection.recv(10) == b"HTTP/1.0 2"
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert answer(address, "/").status == 200
        until = time.monotonic() + 60
        while threading.active_count() > 2 and time.monotonic() < until:  # the request's has to end
            time.sleep(0.01)
    assert capfd.readouterr().err == ""
