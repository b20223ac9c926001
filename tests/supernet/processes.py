"""Commands in separate processes, and settings of tiny trainings."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
NET = {"dim": 16, "num_heads": 2, "ffn_dim": 32, "kernel": 3, "frontend_channels": 2}
TRAIN: dict[str, int | str] = {
    "num_steps": 24, "publish_every": 2, "checkpoint_every": 4, "validate_every": 12, "num_threads": 1,
    "precision": "float32",  # on every machine
}  # fmt: skip
LEARNING = ("--set", "method.score_learning=0.25")
"""Long enough score learning for Simple-Top-k to reach its smallest k, and to be stopped during it."""
ZEROING = ("--method", "iterative-zero-out", "--set", "method.iterations=2")
"""Enough iterations to zero out units, which takes more than one."""
SECRET = "a-value-that-nobody-may-read"


def settings(sizes: str = "2,4", **train: int | str) -> list[str]:
    """Options of a tiny training on the corpus of tones in the current folder."""
    values: dict[str, object] = {f"model.{key}": value for key, value in NET.items()}
    values |= {f"train.{key}": value for key, value in (TRAIN | train).items()}
    options = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    return ["--task", "tones", "--sizes", sizes, "--device", "cpu", "--set", "task.batch_seconds=8", *options]


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a user, with a credential, and a home folder whose name occurs nowhere else."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "API_SECRET": SECRET,
        "HOME": str(home / "home-of-jane-doe"),
        "USER": "jane-doe",
        "LOGNAME": "jane-doe",
        "COLUMNS": "200",
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]),
        **(extra or {}),
    }


class Forked:
    """A process that runs ``python -m`` with ``words``, forked from one with everything imported.

    It is used like a ``subprocess.Popen`` with pipes and text. Unlike a fresh process, it has the hash seed
    of all others of this kind, and cannot show what a command imports.
    """

    def __init__(
        self, words: Sequence[str], cwd: Path, environment: Mapping[str, str], new_session: bool = False
    ) -> None:
        request = {
            "words": words, "cwd": str(cwd), "environment": environment, "new_session": new_session,
        }  # fmt: skip
        self._answers, theirs = socket.socketpair()
        out, their_out = os.pipe()
        err, their_err = os.pipe()
        socket.send_fds(_forking_process(), [b"!"], [theirs.fileno(), their_out, their_err])
        theirs.close()
        os.close(their_out)
        os.close(their_err)
        self._answers.sendall(json.dumps(request).encode() + b"\n")
        self.stdout, self.stderr = os.fdopen(out, encoding="utf-8"), os.fdopen(err, encoding="utf-8")
        self.pid = self._answer(None)
        self.returncode: int | None = None

    def _answer(self, timeout: float | None) -> int:
        self._answers.settimeout(timeout)
        line = b""
        while not line.endswith(b"\n"):
            line += self._answers.recv(1) or b"lost\n"  # not a number: the forking process is gone
        return int(line)

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.returncode = self._answer(timeout)
            self._answers.close()
        return self.returncode

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._answers], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        with ThreadPoolExecutor(2) as threads, self.stdout, self.stderr:
            out, err = threads.submit(self.stdout.read), threads.submit(self.stderr.read)
            try:
                self.wait(timeout)
            except TimeoutError:
                self.kill()
                raise
            return out.result(), err.result()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@functools.cache
def _forking_process() -> socket.socket:
    """The requests of a process that forks for us until we end; see tests/supernet/forking.py."""
    ours, theirs = socket.socketpair()
    inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    subprocess.Popen(
        [sys.executable, "-m", "tests.supernet.forking", str(theirs.fileno())],
        cwd=REPOSITORY,
        env={**inherited, "OMP_NUM_THREADS": "1"},
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    theirs.close()
    return ours


def start(
    arguments: Sequence[str | Path], cwd: Path, extra: Mapping[str, str] | None = None, **options: bool
) -> Forked:
    """Start ``python -m`` with ``arguments`` in ``cwd``."""
    return Forked([*map(str, arguments)], cwd, environment(cwd, extra), **options)


def start_ranks(
    arguments: Sequence[str | Path], cwd: Path, extra: Mapping[str, str] | None = None
) -> list[Forked]:
    """Start two processes that train together, with the variables that torchrun would set."""
    everybody = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
        **(extra or {}),
    }
    return [start(arguments, cwd, {**everybody, "RANK": rank, "LOCAL_RANK": rank}) for rank in ("0", "1")]


def run_ranks(arguments: Sequence[str | Path], cwd: Path, extra: Mapping[str, str] | None = None) -> None:
    """Run two processes that train together; both must succeed."""
    for process in start_ranks(arguments, cwd, extra):
        printed = process.communicate(timeout=300)
        assert process.returncode == 0, "\n".join(printed)


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return str(found.getsockname()[1])


def run(
    *arguments: str | Path,
    cwd: Path,
    status: int = 0,
    extra: Mapping[str, str] | None = None,
    fresh: bool = False,
) -> tuple[str, str]:
    """Run ``python -m`` with ``arguments``, which must end with ``status``; return its output and errors.

    Args:
        fresh: Start Python anew instead of forking.
    """
    process = start_fresh(arguments, cwd, extra) if fresh else start(arguments, cwd, extra)
    out, err = process.communicate(timeout=300)
    assert process.returncode == status, f"{arguments} ended with {process.returncode}:\n{out}\n{err}"
    return out, err


def start_fresh(
    arguments: Sequence[str | Path], cwd: Path, extra: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start Python anew."""
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=cwd,
        env=environment(cwd, extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop_at(
    step: int,
    arguments: Sequence[str | Path],
    folder: Path,
    cwd: Path,
    number: signal.Signals,
    fresh: bool = False,
) -> int:
    """Start a training, send ``number`` as soon as ``step`` has a checkpoint, and return the exit status."""
    process = start_fresh(arguments, cwd) if fresh else start(arguments, cwd)
    checkpoint = folder / "checkpoints" / f"step_{step}"
    while not checkpoint.exists():
        assert process.poll() is None, f"ended before step {step}: {process.communicate()}"
        time.sleep(0.002)
    process.send_signal(number)
    print(*process.communicate(timeout=120))  # shown if a test fails
    return process.wait()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
