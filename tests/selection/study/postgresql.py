"""A PostgreSQL server for the tests, on a socket in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

SYSTEM = Path("/usr/lib/postgresql")
"""The folder of PostgreSQL's programs on Debian and its derivatives, which is not on the search path."""


def program(name: str) -> Path | None:
    """The path of a server program: the one on the search path, or the newest one of the system."""
    if found := shutil.which(name):
        return Path(found).resolve()
    versions = [path for path in SYSTEM.glob(f"*/bin/{name}") if path.parts[-3].isdecimal()]
    return max(versions, key=lambda path: int(path.parts[-3]), default=None)


def _user() -> dict[str, Any]:
    """The user who runs the programs, which refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    users = {user.pw_name: user for user in pwd.getpwall()}
    user = users.get("postgres", users["nobody"])
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}


class Server:
    """A server with its data and its socket in ``folder``, without a TCP port."""

    def __init__(self, folder: Path, initdb: Path, postgres: Path) -> None:
        self._folder, self._postgres, self._numbers = folder, postgres, count()
        self._as: dict[str, Any] = {**_user(), "cwd": folder, "stdin": subprocess.DEVNULL}
        if "user" in self._as:
            os.chown(folder, self._as["user"], self._as["group"])
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync"]
        subprocess.run([initdb, *options, "data"], **self._as, check=True, capture_output=True)
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = ["-D", "data", "-k", str(self._folder), "-c", "listen_addresses=", "-c", "fsync=off"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([self._postgres, *options], **self._as, stdout=log, stderr=log)
        _wait(self._is_ready, f"PostgreSQL must start, but does not: see {self._folder / 'log'}")

    def stop(self) -> None:
        """Stop the server immediately; its data are kept."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=60)

    def new_database(self) -> str:
        """The address of an empty database."""
        name = f"study_{next(self._numbers)}"
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def _connect(self) -> Any:
        import psycopg  # from an extra

        return psycopg.connect(host=str(self._folder), user="postgres", dbname="postgres", autocommit=True)

    def _is_ready(self) -> bool:
        import psycopg

        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True


def _wait(condition: Callable[[], bool], complaint: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, complaint
        time.sleep(0.05)
