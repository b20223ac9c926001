"""Trainings divided among processes on one machine: started, stopped, killed and resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from supernet.runs.run import Run
from supernet.train import main
from tests.supernet.engine.test_stopping import assert_the_same_run
from tests.supernet.processes import LEARNING, Forked, run, settings, start
from tests.supernet.system.test_workers import is_running

pytestmark = pytest.mark.slow

TWO = [*settings(processes=2), *LEARNING]


@pytest.fixture(scope="module")
def two(place: Path) -> Run:
    """An undisturbed run of two processes."""
    before = children(os.getpid())  # left by other tests in this process
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        main([*TWO, "--out", "runs/two"])
    assert set(children(os.getpid())) <= set(before)
    return Run(place / "runs/two")


def children(pid: int) -> list[int]:
    """The running child processes of ``pid``."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(line) for line in found.stdout.split() if is_running(int(line))]


def started(place: Path, out: str) -> tuple[Forked, list[int]]:
    """A training of two processes after its second checkpoint, in its own process group, and its workers."""
    process = start(["supernet.train", *TWO, "--out", out], place, new_session=True)
    while not (place / out / "checkpoints" / "step_8").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    return process, children(process.pid)


def ended(process: Forked, workers: list[int]) -> tuple[str, str]:
    printed = process.communicate(timeout=120)
    limit = time.monotonic() + 60
    while any(is_running(pid) for pid in workers):
        assert time.monotonic() < limit, "no process may be left running"
        time.sleep(0.01)
    return printed


def test_two_processes_give_the_same_result_as_one(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    # A small epsilon would let Adam amplify the rounding of gradients that are nearly 0.
    still = ["--set", "model.dropout=0", "--set", "model.ffn_dropout=0", "--set", "train.eps=0.001"]
    runs = {}
    for count in (1, 2):
        main([*settings(processes=count), *LEARNING, *still, "--out", f"runs/still-{count}"])
        runs[count] = Run(place / f"runs/still-{count}")
    one, both = runs.values()
    assert both.subnets() == one.subnets()
    for name in ("train", "valid"):
        for ours, theirs in zip(both.metrics(name), one.metrics(name), strict=True):
            losses = {key: value for key, value in theirs.items() if "/" in key or key == "Gradient Norm"}
            assert {key: ours[key] for key in losses} == pytest.approx(losses, rel=1e-4, abs=1e-6)
    weights, expected = (load_file(run.folder / "model.safetensors") for run in (both, one))
    for key, value in expected.items():
        assert (weights[key] - value).norm() <= 1e-4 * value.norm() + 1e-6, key


def test_output_appears_once(place: Path, tmp_path: Path) -> None:
    out, err = run("supernet.train", *settings(processes=3, num_steps=4), "--out", tmp_path, cwd=place)
    assert out.count("Training starts: 4 updates in total.") == 1
    assert out.count("test WER") == 1
    assert "Traceback" not in err
    assert Run(tmp_path).results()["peak_memory_mb"] > 0


def test_a_killed_training_resumes_bit_by_bit_or_with_another_number_of_processes(
    place: Path, two: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    process, workers = started(place, "runs/two-killed")
    assert len(workers) == 1
    process.kill()
    ended(process, workers)
    shutil.copytree(place / "runs/two-killed", place / "runs/two-then-one")
    monkeypatch.chdir(place)
    main([*TWO, "--out", "runs/two-killed"])
    assert "Training continues from update" in capsys.readouterr().out
    assert_the_same_run(Run(place / "runs/two-killed"), two)
    main([*settings(processes=1), *LEARNING, "--out", "runs/two-then-one"])
    assert "Training continues from update" in capsys.readouterr().out
    assert Run(place / "runs/two-then-one").is_finished


def test_ctrl_c_to_all_processes_stops_the_training_in_order(
    place: Path, two: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for attempt in range(4):
        out = f"runs/two-stopped-{attempt}"
        process, workers = started(place, out)
        os.killpg(process.pid, signal.SIGINT)
        _, err = ended(process, workers)
        if not Run(place / out).is_finished:
            break  # otherwise the signal came too late on a busy machine
    assert process.returncode == 130, err
    assert "Stopped. What was trained is kept" in err
    assert not [line for line in err.splitlines() if line.startswith("error: ") or "Traceback" in line]
    monkeypatch.chdir(place)
    main([*TWO, "--out", out])
    assert_the_same_run(Run(place / out), two)


def test_a_killed_worker_is_a_one_line_error_and_the_same_command_continues(
    place: Path, two: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, workers = started(place, "runs/two-one-killed")
    os.kill(workers[0], signal.SIGKILL)
    _, err = ended(process, workers)
    if process.returncode == 0:
        pytest.skip("the machine was so busy that the signal came too late")
    assert process.returncode == 2, err
    (line,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert "process 2 of the 2 that compute this must answer, but it was killed by SIGKILL" in line
    assert "Traceback" not in err
    monkeypatch.chdir(place)
    main([*TWO, "--out", "runs/two-one-killed"])
    assert_the_same_run(Run(place / "runs/two-one-killed"), two)


def test_a_finished_run_does_not_depend_on_the_number_of_processes(
    two: Run, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = json.loads(two.results_file.read_text())
    monkeypatch.chdir(place)
    main([*settings(processes=1), *LEARNING, "--out", "runs/two"])
    assert "is finished; these are its results" in capsys.readouterr().out
    assert json.loads(two.results_file.read_text()) == results
