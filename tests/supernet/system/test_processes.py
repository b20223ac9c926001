"""The number of processes of a training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from supernet.errors import UserError
from supernet.system.devices import with_threads
from supernet.system.processes import MOST, Processes, num_cores, processes_for, quota


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A Linux machine with six cores, without torchrun."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr("supernet.system.processes.num_cores", lambda: 6)
    return monkeypatch


@pytest.mark.parametrize(
    ("asked", "num_threads", "expected"),
    [
        ("auto", None, Processes(6, 1)),
        ("auto", 1, Processes(6, 1)),
        ("auto", 2, Processes(3, 2)),
        ("auto", 6, Processes(1, 6)),
        ("auto", 9, Processes(1, 9)),
        (1, None, Processes(1, None)),
        (2, None, Processes(2, 3)),
        (4, None, Processes(4, 1)),
        (9, None, Processes(9, 1)),
        (2, 1, Processes(2, 1)),
    ],
)
def test_processes_share_the_cores(
    asked: Any, num_threads: int | None, expected: Processes, cores: pytest.MonkeyPatch
) -> None:
    assert processes_for(asked, num_threads, True) == expected


def test_the_number_of_automatic_processes_is_limited(cores: pytest.MonkeyPatch) -> None:
    cores.setattr("supernet.system.processes.num_cores", lambda: 64)
    assert processes_for("auto", None, True) == Processes(MOST, 64 // MOST)


def test_on_other_systems_processes_are_forked_only_on_request(cores: pytest.MonkeyPatch) -> None:
    cores.setattr("sys.platform", "darwin")
    assert processes_for("auto", None, True) == Processes(1, None)
    assert processes_for(2, None, True) == Processes(2, 3)


def test_one_core_a_gpu_or_torchrun_means_one_process(cores: pytest.MonkeyPatch) -> None:
    assert processes_for("auto", None, False) == processes_for(1, None, False) == Processes(1, None)
    with pytest.raises(
        UserError, match=r"^`train.processes` must be auto or 1 on a GPU, but is 2 instead\.$"
    ):
        processes_for(2, None, False)
    cores.setattr("supernet.system.processes.num_cores", lambda: 1)
    assert processes_for("auto", None, True) == Processes(1, None)
    cores.setenv("RANK", "0")
    cores.setattr("supernet.system.processes.num_cores", lambda: 6)
    assert processes_for("auto", None, True) == Processes(1, None)
    with pytest.raises(UserError, match="under torchrun, which starts the processes, but is 3 instead"):
        processes_for(3, None, True)


def test_the_number_of_cores_is_limited_by_threads_and_affinity() -> None:
    assert num_cores() == torch.get_num_threads() == 1
    allowed = os.sched_getaffinity(0)
    with with_threads(1000):
        assert num_cores() == max(1, int(min(len(allowed), quota() or len(allowed))))
        os.sched_setaffinity(0, [min(allowed)])
        try:
            assert num_cores() == 1
        finally:
            os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("group", "limits", "expected"),
    [
        ("0::/a/b", {"a/b": "150000 100000", "a": "max 100000"}, 1.5),
        ("0::/a/b", {"a/b": "400000 100000", ".": "200000 100000"}, 2.0),
        ("0::/", {".": "50000 100000"}, 0.5),
        ("0::/a", {"a": "max 100000"}, None),
        ("0::/elsewhere", {}, None),
        ("0::/../..", {".": "100000 100000"}, 1.0),
        ("1:cpu:/old", {}, None),
    ],
)
def test_the_quota_is_the_smallest_of_all_enclosing_control_groups(
    group: str, limits: dict[str, str], expected: float | None, tmp_path: Path
) -> None:
    root = tmp_path / "cgroup"
    root.mkdir()
    for folder, text in limits.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "cpu.max").write_text(text + "\n")
    (tmp_path / "own").write_text(group + "\n")
    assert quota(root, tmp_path / "own") == expected


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert quota(tmp_path / "none", tmp_path / "neither") is None
