"""A run with all its sizes in one download."""

from __future__ import annotations

import pytest

from supernet.export import __main__ as command
from supernet.runs.run import Run
from tests.supernet.talkative import make_run
from tests.test_documents import ROOT, commands


@pytest.fixture(scope="session")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose sizes were exported with shared weights and on demand, in float32 and int8, by the commands
    of the manual.
    """
    pytest.importorskip("onnxscript", reason="needs the export extra")
    run = make_run(tmp_path_factory.mktemp("runs") / "run")
    for _, *arguments in commands(ROOT / "docs" / "how-to" / "several-sizes.md"):
        command.main([word.replace("RUN", str(run.folder)) for word in arguments] + ["--unchecked"])
    return run
