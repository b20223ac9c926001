"""The page, served, and onnxruntime-web if the user's cache has it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supernet.demo import onnxruntime_web
from supernet.demo.server import HOST, server_of
from supernet.demo.site import Site

_CACHED = onnxruntime_web.PINNED.folder  # before tests get a cache of their own


@pytest.fixture(scope="session")
def ort() -> Path:
    """The folder of onnxruntime-web."""
    if not _CACHED.is_dir():
        pytest.skip(f"needs onnxruntime-web in '{_CACHED}', where the command `demo` downloads it to")
    return _CACHED


@contextmanager
def served(site: Site) -> Iterator[str]:
    """The address of a server of ``site``, without a slash at the end."""
    with server_of(site, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
