"""Damaged variants of a run's files, and the messages of commands on them."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

Main = Callable[[list[str]], None]

fuzz = settings(derandomize=True, max_examples=30, suppress_health_check=list(HealthCheck))
a_few = settings(fuzz, max_examples=12)


def complaint(main: Main, arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str | None:
    """The message of a command that ends with status 2; None if it succeeds."""
    capsys.readouterr()
    status = 0
    try:
        main(list(arguments))
    except SystemExit as end:
        status = int(end.code or 0)
    err = capsys.readouterr().err
    if status == 0:
        return None
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert status == 2, err
    assert 1 <= len(lines) <= 40, err
    assert "Traceback" not in err
    assert all(len(line) < 1000 for line in lines)
    return "\n".join(lines)


def certain(main: Main, arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    said = complaint(main, arguments, capsys)
    assert said is not None, "it must be an error"
    return said


TEXTS = ["", "../../x", "/etc/passwd", "[/red]", "\x1b[2J", "<b>", "\ud800", "pieces", "0", "x" * 300]
NUMBERS = [-1, 0, 99, 10**9, 10**30, 1e308, -1e308, float("nan"), float("inf")]
OTHERS: list[Any] = [None, True, [], {}, [[]], [None], {"": None}, [1, 2], {"a": {"b": []}}, ["layers.0"] * 3]
JUNK = st.one_of(st.sampled_from(TEXTS), st.sampled_from(NUMBERS), st.sampled_from(OTHERS))


def paths(data: Any, so_far: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield so_far
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield from paths(value, (*so_far, key))


@st.composite
def damaged(draw: st.DrawFn, good: Any) -> Any:
    """``good`` with a value anywhere in it removed or replaced."""
    data = copy.deepcopy(good)
    where = draw(st.sampled_from(list(paths(data))))
    if not where:
        return draw(JUNK)
    place, last = data, where[-1]
    for key in where[:-1]:
        place = place[key]
    if draw(st.booleans()):
        del place[last]
    else:
        place[last] = draw(JUNK)
    return data


RAW = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"", b"[]", b"null", b"3", b'"x"', b"{", b"\xff\xfe", b"[" * 100_000, b"\x00" * 4096]),
)


@contextlib.contextmanager
def instead(file: Path, content: bytes) -> Iterator[None]:
    good = file.read_bytes()
    try:
        file.write_bytes(content)
        yield
    finally:
        file.write_bytes(good)


def json_like(file: Path) -> st.SearchStrategy[bytes]:
    """The JSON or JSON lines of ``file`` with a change anywhere, or no JSON at all."""
    if file.suffix == ".jsonl":
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        return st.one_of(damaged(rows).map(_as_lines), RAW)
    return st.one_of(damaged(json.loads(file.read_bytes())).map(lambda d: json.dumps(d).encode()), RAW)


def _as_lines(rows: Any) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in (rows if isinstance(rows, list) else [rows])).encode()


def yaml_like(file: Path) -> st.SearchStrategy[bytes]:
    texts = damaged(yaml.safe_load(file.read_bytes())).map(yaml.safe_dump)
    return st.one_of(texts.map(lambda text: text.encode("utf-8", "replace")), RAW)


@st.composite
def byte_errors(draw: st.DrawFn, good: bytes) -> bytes:
    """``good`` truncated, preceded by other bytes, or with other bytes anywhere; or arbitrary bytes."""
    place = draw(st.integers(0, len(good)))
    kind = draw(st.sampled_from(["raw", "cut", "before", "flip", "other", "gone"]))
    if kind == "flip":
        return good[:place] + bytes(byte ^ 0xFF for byte in good[place : place + 1]) + good[place + 1 :]
    if kind in ("other", "gone"):
        other = draw(st.binary(max_size=20)) if kind == "other" else b""
        return good[:place] + other + good[place + draw(st.integers(1, 40)) :]
    return {"raw": draw(RAW), "cut": good[:place], "before": draw(st.binary(max_size=20)) + good}[kind]
