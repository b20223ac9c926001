"""Errors of commands that are called in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

Main = Callable[[list[str]], object]
Captured = pytest.CaptureFixture[str]


def complaint(main: Main, arguments: Sequence[object], captured: Captured, status: int = 2) -> str:
    """The standard error of a command that must end with ``status``."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    error = captured.readouterr().err
    assert end.value.code == status, error
    return error


def one_error(main: Main, arguments: Sequence[object], captured: Captured, status: int = 2) -> str:
    """The one error, beside which there may be lines on progress."""
    lines = complaint(main, arguments, captured, status).splitlines()
    (line,) = (line for line in lines if line.startswith("error: "))
    return line
