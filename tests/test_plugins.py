"""Anyone's package can add a method and a task: this installs one and trains with it by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from supernet.run import Run
from tests.supernet.processes import REPOSITORY, run, settings

SOURCE = Path(__file__).with_name("plugins")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the package is installed."""
    place = tmp_path_factory.mktemp("plugins")
    shutil.copytree(SOURCE, place / "source")  # building writes beside the sources
    run(
        "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
        "--disable-pip-version-check", "--target", place / "installed", place / "source", cwd=place,
    )  # fmt: skip
    return {"PYTHONPATH": f"{REPOSITORY}:{place / 'installed'}"}


def options(*more: str) -> list[str]:
    tiny = settings(num_steps=6, publish_every=2, checkpoint_every=2, validate_every=2)
    without_corpus = [word for word in tiny if not word.startswith("task.")]
    without_corpus.remove("--set")
    start = without_corpus.index("--task")
    return [
        *without_corpus[:start],
        *without_corpus[start + 2 :],
        "--task",
        "beeps",
        "--method",
        "uniform",
        *more,
    ]


def test_a_foreign_method_trains_on_a_foreign_task(path: dict[str, str], tmp_path: Path) -> None:
    out, _ = run(
        "supernet.train", *options("--set", "method.offset=1", "--out", "run"), cwd=tmp_path, extra=path
    )
    found = Run(tmp_path / "run")
    assert {size: subnet.kept for size, subnet in found.subnets().items()} == {
        2: ("layers.1", "layers.3"),
        4: ("layers.0", "layers.1", "layers.2", "layers.3"),
    }
    assert found.results()["sizes"]["2"]["test"]["utterances"] == 8
    assert found.tokens().symbols == ("<blk>", " ", "a", "b", "c")
    assert found.config_data()["task"] == {"name": "beeps", "batch_size": 4}
    assert "test WER" in out


def test_its_options_are_checked_and_its_names_are_listed(path: dict[str, str], tmp_path: Path) -> None:
    arguments = options("--set", "method.ofset=1", "--set", "task.batch_size=0", "--out", "run")
    _, err = run("supernet.train", *arguments, cwd=tmp_path, status=2, extra=path)
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(lines) == 2
    assert "`method.ofset` must be a setting that exists, but is not. Did you mean offset?" in lines[0]
    assert "`task.batch_size`" in lines[1]
    assert not (tmp_path / "run").exists()
