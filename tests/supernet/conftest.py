"""A run with all its sizes in one download."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from supernet.export import __main__ as command
from supernet.runs.run import Run
from tests.supernet.recognizing import fit_cascade
from tests.supernet.talkative import make_run
from tests.test_documents import ROOT, commands


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The temporary folder of all workers of pytest-xdist together."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def bundled(shared_folder: Path) -> Run:
    """A run whose sizes were exported with shared weights and on demand, in float32 and int8, by the commands
    of the manual: by one of the workers, as it takes long. Tests only read it.
    """
    pytest.importorskip("onnxscript", reason="needs the export extra")
    with (shared_folder / "bundled.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (shared_folder / "bundled").is_dir():
            return Run(shared_folder / "bundled" / "run")
        folder = shared_folder / "bundled.part"
        run = make_run(folder / "run")
        fit_cascade(run)
        for module, *arguments in commands(ROOT / "docs" / "how-to" / "several-sizes.md"):
            if module == "supernet.export":
                command.main([word.replace("RUN", str(run.folder)) for word in arguments] + ["--unchecked"])
        folder.rename(shared_folder / "bundled")
    return Run(shared_folder / "bundled" / "run")
