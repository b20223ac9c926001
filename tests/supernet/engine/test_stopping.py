"""Trainings that are killed or interrupted and then resumed are bit-exact."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from supernet.engine.stopping import tells_of_an_end
from supernet.runs.run import Run
from supernet.train import main
from tests.supernet.processes import LEARNING, ZEROING, digest, run, settings, start, stop_at

pytestmark = pytest.mark.slow


def assert_the_same_run(resumed: Run, whole: Run) -> None:
    """Weights, scores, masks, and the curves after the interruption, bit by bit."""
    assert digest(resumed.folder / "model.safetensors") == digest(whole.folder / "model.safetensors")
    assert resumed.subnets() == whole.subnets()
    # A requested stop publishes metrics once more, at the step where it stopped.
    published = {line["step"] for line in whole.scores()}
    assert [line for line in resumed.scores() if line["step"] in published] == whole.scores()
    for name in ("train", "valid"):
        ours, theirs = ({line["Step"]: line for line in r.metrics(name)} for r in (resumed, whole))
        # A stop adds a validation; a kill just after a checkpoint omits the one due with it. A line of a
        # curve is the mean since the line before: after a stop, the mean of the remaining steps.
        cut_short = {
            min((s for s in theirs if s > extra), default=0) for extra in ours.keys() - theirs.keys()
        }
        for step in (ours.keys() & theirs.keys()) - (cut_short if name == "train" else set()):
            assert _losses(ours[step]) == _losses(theirs[step])
        assert 24 in ours.keys() & theirs.keys()
    (a, b) = (r.results()["sizes"]["2"] for r in (resumed, whole))
    assert (a["test"], a["kept"]) == (b["test"], b["kept"])


def _losses(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if "/" in key}


@pytest.mark.parametrize(("method", "step"), [("simple-top-k", 4), ("iterative-zero-out", 8)])
def test_a_training_killed_and_resumed_is_bit_exact(
    place: Path, finished: tuple[Run, str], zeroed: tuple[Run, str], method: str, step: int
) -> None:
    whole, how = (finished[0], LEARNING) if method == "simple-top-k" else (zeroed[0], ZEROING)
    out = f"runs/killed-{method}-{step}"
    command = ["supernet.train", *settings(), *how, "--out", out]
    assert stop_at(step, command, place / out, place, signal.SIGKILL) == -signal.SIGKILL
    assert not Run(place / out).is_finished
    printed, _ = run(*command, cwd=place)
    assert "Training continues from update" in printed
    assert_the_same_run(Run(place / out), whole)


def test_a_training_in_bfloat16_killed_and_resumed_is_bit_exact(
    place: Path, finished: tuple[Run, str]
) -> None:
    command = ["supernet.train", *settings(), *LEARNING, "--set", "train.precision=bfloat16"]
    run(*command, "--out", "runs/low", cwd=place)
    out = "runs/low-killed"
    assert stop_at(8, [*command, "--out", out], place / out, place, signal.SIGKILL) == -signal.SIGKILL
    assert not Run(place / out).is_finished
    printed, _ = run(*command, "--out", out, cwd=place)
    assert "Training continues from update" in printed
    assert_the_same_run(Run(place / out), Run(place / "runs" / "low"))
    assert digest(place / out / "model.safetensors") != digest(finished[0].folder / "model.safetensors")


def test_a_streaming_training_killed_and_resumed_is_bit_exact(place: Path) -> None:
    """With the chunks that its utterances drew, and the statistics of its features."""
    command = ["supernet.train", *settings(), *LEARNING, "--set", "model.streaming=true"]
    run(*command, "--out", "runs/streaming", cwd=place)
    out = "runs/streaming-killed"
    assert stop_at(8, [*command, "--out", out], place / out, place, signal.SIGKILL) == -signal.SIGKILL
    printed, _ = run(*command, "--out", out, cwd=place)
    assert "Training continues from update" in printed
    assert_the_same_run(Run(place / out), Run(place / "runs" / "streaming"))
    mean_F = load_file(place / out / "model.safetensors")["frontend.mean_F"]
    assert mean_F.abs().min() > 0


def test_missing_audio_is_named_and_the_same_command_continues_once_it_is_back(
    tones: Path, tmp_path: Path
) -> None:
    shutil.copytree(tones, tmp_path / "tones")
    options = settings(num_steps=60, checkpoint_every=4, validate_every=60)
    command = ["supernet.train", *options, "--set", "task.store_hours=0", "--out", "runs/gone"]
    process = start(command, tmp_path)
    while not (tmp_path / "runs" / "gone" / "checkpoints" / "step_4").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    gone = tmp_path / "tones" / "audio" / "train" / "train-3.flac"
    gone.rename(tmp_path / "elsewhere.flac")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    (line,) = (line for line in err.splitlines() if line.startswith("error:"))
    assert "the audio of 'train-3' in the train split must be as it was when it was prepared" in line
    assert f"no such file: '{gone}'" in line
    assert "Traceback" not in err
    (tmp_path / "elsewhere.flac").rename(gone)
    printed, err = run(*command, cwd=tmp_path)
    assert "Training continues from update" in printed + err


def test_after_ctrl_c_the_same_command_continues(place: Path, finished: tuple[Run, str]) -> None:
    # No checkpoint is due after the second one: the training continues from one saved because of Ctrl-C.
    for attempt in range(4):
        stopped = Run(place / "runs" / f"stopped-{attempt}")
        command = ["supernet.train", *settings(), *LEARNING, "--out", f"runs/stopped-{attempt}"]
        status = stop_at(8, command, stopped.folder, place, signal.SIGINT)
        if not stopped.is_finished:
            break  # otherwise the signal came too late on a busy machine
    assert status == 130
    run(*command, cwd=place)
    assert_the_same_run(stopped, finished[0])


def test_ctrl_c_while_sizes_are_evaluated(
    here: Path,
    finished: tuple[Run, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*arguments: object) -> None:
        signal.raise_signal(signal.SIGINT)

    command = [*settings(), *LEARNING, "--out", "runs/unscored"]
    with monkeypatch.context() as patched:
        patched.setattr("supernet.trainer.score_sizes", interrupt)
        with pytest.raises(SystemExit, match="130"):
            main(command)
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("Stopped. What was done is kept.")
    assert "error:" not in err
    assert "The same command continues." in err
    main(command)
    assert_the_same_run(Run(here / "runs/unscored"), finished[0])


LEAVING = """
import sys, torch.distributed as dist
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=1, world_size=2)
"""


def test_the_end_of_another_process_is_recognized(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", LEAVING, str(tmp_path / "meet")])
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=2)
    try:
        other.wait(timeout=300)
        with pytest.raises(RuntimeError) as raised:
            dist.all_reduce(torch.ones(1))
        assert tells_of_an_end(raised.value)
    finally:
        dist.destroy_process_group()
    assert not tells_of_an_end(RuntimeError("CUDA out of memory."))
