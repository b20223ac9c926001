"""A process with everything imported, from which tests fork: most of a short command's time goes to imports.

``python -m tests.supernet.forking DESCRIPTOR`` serves the Unix socket of that number until its other end is
closed. A request is three descriptors: a socket, a standard output, and a standard error. The socket first
says what to run as ``python -m`` does, then receives the ID of the forked process and at the end its exit
status.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from pathlib import Path

PACKAGES = ("supernet", "selection", "tasks")
OTHERS = ("matplotlib.pyplot", "torch._dynamo", "torch.distributed.run", "optuna")
"""Imported by functions of ours."""
THREADED = "supernet.runtime"
"""It imports onnxruntime, which starts a thread that forked processes would lack and wait for."""


def import_all() -> None:
    root = Path(__file__).parents[2]
    files = (file for package in PACKAGES for file in sorted((root / package).rglob("*.py")))
    modules = (".".join(file.relative_to(root).with_suffix("").parts) for file in files)
    for name in (*modules, *OTHERS):
        if not name.endswith("__main__") and not name.startswith(THREADED):
            with contextlib.suppress(ImportError):  # an extra that is not installed
                importlib.import_module(name.removesuffix(".__init__"))
    if (tasks := Path("/proc/self/task")).is_dir():
        assert len([*tasks.iterdir()]) == 1, "no import may start a thread; see THREADED"
    gc.collect()
    gc.freeze()  # a collection in a forked process would copy every page


def next_words(requests: socket.socket) -> list[str]:
    """The module and its arguments, returned in a new process for each request."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait for the forked ones
    while True:
        data, descriptors, _, _ = socket.recv_fds(requests, 1, 3)
        if not data:
            os._exit(0)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            return _forked(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _forked(answers: int, out: int, err: int) -> list[str]:
    with socket.socket(fileno=answers) as client:
        request = json.loads(client.makefile("rb").readline())
        pid = os.fork()
        if pid:
            os.close(out)
            os.close(err)
            client.sendall(f"{pid}\n".encode())
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            client.sendall(f"{status}\n".encode())
            os._exit(0)
    if request["new_session"]:
        os.setsid()
    for old, new in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(old, new)
        os.close(old)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[:1] = [request["cwd"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    importlib.invalidate_caches()
    words: list[str] = request["words"]
    return words


if __name__ == "__main__":
    import_all()
    sys.argv = next_words(socket.socket(fileno=int(sys.argv[1])))
    sys.modules.pop(sys.argv[0], None)
    # Here rather than in a function, so that exceptions, signals, and exit handlers act as in any process.
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
