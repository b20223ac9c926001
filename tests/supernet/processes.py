"""Trainings in processes of their own, so small that starting Python takes longest."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
NET = {"dim": 16, "num_heads": 2, "ffn_dim": 32, "kernel": 3, "frontend_channels": 2}
TRAIN = {"num_steps": 24, "publish_every": 2, "checkpoint_every": 4, "validate_every": 12, "num_threads": 1}
LEARNING = ("--set", "method.score_learning=0.25")
"""So that Simple-Top-k reaches its smallest k, and can be stopped while it learns scores."""
ZEROING = ("--method", "iterative-zero-out", "--set", "method.iterations=2")
"""So that units are put out, which one iteration alone does not do."""
SECRET = "a-value-that-nobody-may-read"


def settings(sizes: str = "2,4", **train: int) -> list[str]:
    """Options of a tiny training on the corpus of tones, which lies in the current folder."""
    values = {f"model.{key}": value for key, value in NET.items()}
    values |= {f"train.{key}": value for key, value in (TRAIN | train).items()}
    options = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    return ["--task", "tones", "--sizes", sizes, "--device", "cpu", "--set", "task.batch_seconds=8", *options]


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """As a user has it, with a credential, and a home that can be told from everything else."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "API_SECRET": SECRET,
        "HOME": str(home / "home-of-jane-doe"),
        "USER": "jane-doe",
        "LOGNAME": "jane-doe",
        "COLUMNS": "200",
        "PYTHONPATH": str(REPOSITORY),
        **(extra or {}),
    }


def start(
    arguments: Sequence[str | Path], cwd: Path, extra: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """``python -m`` with ``arguments``, from ``cwd``."""
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=cwd,
        env=environment(cwd, extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(
    *arguments: str | Path, cwd: Path, status: int = 0, extra: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """The standard output and error of ``python -m`` with ``arguments``; it must end with ``status``."""
    process = start(arguments, cwd, extra)
    out, err = process.communicate(timeout=300)
    assert process.returncode == status, f"{arguments} ended with {process.returncode}:\n{out}\n{err}"
    return out, err


def stop_at(
    step: int, arguments: Sequence[str | Path], folder: Path, cwd: Path, number: signal.Signals
) -> int:
    """Start a training, send ``number`` as soon as the checkpoint of ``step`` is there; the exit status."""
    process = start(arguments, cwd)
    checkpoint = folder / "checkpoints" / f"step_{step}"
    while not checkpoint.exists():
        assert process.poll() is None, f"ended before step {step}: {process.communicate()}"
        time.sleep(0.002)
    process.send_signal(number)
    print(*process.communicate(timeout=120))  # shown where a test fails
    return process.returncode


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
