"""A run with all its sizes in one download."""

from __future__ import annotations

import pytest

from supernet.export import __main__ as command
from supernet.runs.run import Run
from tests.supernet.talkative import make_run


@pytest.fixture(scope="session")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose sizes were exported with shared weights and on demand, in float32 and int8."""
    pytest.importorskip("onnxscript", reason="needs the export extra")
    run = make_run(tmp_path_factory.mktemp("runs") / "run")
    for bundle in ("shared", "on-demand"):
        command.main([str(run.folder), f"--{bundle}", "--int8", "--unchecked"])
    return run
