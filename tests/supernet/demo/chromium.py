"""A page in headless Chromium, driven by the DevTools protocol over two pipes."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--mute-audio",
    "--disable-background-networking",
    "--remote-debugging-pipe",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)
_SECONDS = 120
"""Longest wait for an answer, on a busy machine."""


class Browser:
    """A page.

    Args:
        commands: The descriptor to write to.
        answers: The descriptor to read from.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._unread, self._number = b"", 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        """What the browser has told without being asked."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """The result of a method of the protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {} if self._session is None else {"sessionId": self._session}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer["error"]
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], _SECONDS)
            assert ready, "Chromium must answer"
            block = os.read(self._answers, 1 << 16)
            assert block, "Chromium must not end"
            self._unread += block
        message, _, self._unread = self._unread.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def run(self, expression: str) -> Any:
        """The value of an expression of JavaScript, run like an action of the user; promises are awaited."""
        options = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        found = self.call("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def open(self, address: str, state: str = "ready") -> None:
        """Open a page and wait until it is in ``state``."""
        self.call("Page.navigate", url=address)
        self.wait(state)

    def wait(self, *states: str) -> None:
        """Wait until the page is in one of ``states``."""
        ends = [*states, "failed"]
        found = self.run(
            "new Promise((done) => { const ask = () => {"
            " const state = document.documentElement?.dataset.state;"
            f" if ({ends}.includes(state)) done(state); else setTimeout(ask, 10); }}; ask(); }})"
        )
        assert found in states, self.text("status")

    def text(self, name: str) -> str:
        """The text of the element with this id."""
        return str(self.run(f"document.getElementById({name!r}).textContent"))

    def choose(self, file: Path) -> None:
        """Choose a recording and wait until it is recognized."""
        self.run("document.documentElement.dataset.state = 'chosen'")
        found = self.run_object("document.getElementById('file')")
        self.call("DOM.setFileInputFiles", files=[str(file)], objectId=found)
        self.wait("done")

    def run_object(self, expression: str) -> str:
        return str(self.call("Runtime.evaluate", expression=expression)["result"]["objectId"])

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    @property
    def requests(self) -> set[str]:
        """The addresses of all requests so far."""
        found = (
            e["params"]["request"]["url"]
            for e in self.events
            if e.get("method") == "Network.requestWillBeSent"
        )
        return {*found}


@contextmanager
def opened(folder: Path, *options: str) -> Iterator[Browser]:
    """A browser with its files in ``folder``."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("needs Chromium")
    (to_read, commands), (answers, to_write) = os.pipe(), os.pipe()
    # The protocol has the descriptors 3 and 4.
    shell = ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "chromium"]
    words = [*shell, program, *_OPTIONS, f"--user-data-dir={folder}", *options]
    process = subprocess.Popen(
        words, pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(to_read)
    os.close(to_write)
    try:
        yield Browser(commands, answers)
    finally:
        os.close(commands)
        os.close(answers)
        process.terminate()
        process.wait(_SECONDS)
