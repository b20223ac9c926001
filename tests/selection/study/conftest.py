"""Real storages of studies, of every kind."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.selection.study.postgresql import Server, program


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A running server, whose socket has a short path that is accessible to the server's user."""
    pytest.importorskip("psycopg", reason="needs the postgresql extra")
    initdb, postgres = program("initdb"), program("postgres")
    if initdb is None or postgres is None:
        pytest.skip("needs a PostgreSQL server: initdb and postgres, on the path or in /usr/lib/postgresql")
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder), initdb, postgres)
        yield server
        server.stop()


@pytest.fixture(params=["sqlite", "journal", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An address for ``--storage``."""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        return server.new_database()
    return {
        "sqlite": f"sqlite:///{tmp_path / 'study.db'}",
        "journal": f"journal:{tmp_path / 'study.log'}",
    }[request.param]
