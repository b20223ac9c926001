"""The JavaScript of the page, run by Node.js."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from supernet.demo.site import PAGE


def javascript(module: str, expression: str, value: object) -> Any:
    """The result of ``expression``, in which ``m`` is a module of the page, and ``value`` is data."""
    if (node := shutil.which("node")) is None:
        pytest.skip("needs Node.js")
    code = f"""
        import * as m from {json.dumps((PAGE / module).as_uri())};
        import {{ readFileSync, writeFileSync }} from "node:fs";
        const value = JSON.parse(readFileSync(0, "utf-8"));
        writeFileSync(1, JSON.stringify({expression}));
    """
    words = [node, "--input-type=module", "--eval", code]
    done = subprocess.run(words, input=json.dumps(value), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
