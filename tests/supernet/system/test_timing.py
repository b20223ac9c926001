"""Times are the best of several, and indicate a busy machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from supernet.console.screen import Screen
from supernet.console.tables import results_table
from supernet.system.timing import BUSY, SPREAD, Timing, timed, together


def compute() -> None:
    """Compute for a few milliseconds."""
    sum(i * i for i in range(30_000))


@pytest.mark.parametrize(
    ("timing", "is_busy"),
    [
        (Timing((0.1, 0.1, 0.11)), False),
        (Timing((0.1, 0.11, 9.0)), False),  # one disturbed repetition does not matter
        (Timing((0.1, 0.3, 0.2)), True),
        (Timing((0.1, 0.1), waited=0.5), True),
        (Timing((0.1, 0.1), crowd=2.0), True),
        (Timing((0.1, 0.1), crowd=1.0), False),  # the measured process itself counts
    ],
)
def test_spread_waiting_and_crowding_indicate_a_busy_machine(timing: Timing, is_busy: bool) -> None:
    assert timing.is_busy == is_busy
    assert timing.best == 0.1


def test_times_of_several_processes_are_combined() -> None:
    both = together([Timing((0.3, 0.2), 0.1, 0.5), Timing((0.1, 0.4), 0.3, 0.2)])
    assert both == Timing((0.3, 0.2, 0.1, 0.4), 0.3, 0.5)
    assert both.best == 0.1
    assert SPREAD > 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux can pin a process to cores")
def test_a_core_in_use_by_others_is_detected() -> None:
    mine = os.sched_getaffinity(0)
    core = {min(mine)}
    spin = f"import os\nos.sched_setaffinity(0, {core})\nprint('on', flush=True)\nwhile True: pass"
    others = [
        subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        os.sched_setaffinity(0, core)
        for other in others:
            assert other.stdout is not None
            assert other.stdout.readline() == "on\n"
        timing = timed(compute, repeats=30, warm_up=1)
    finally:
        os.sched_setaffinity(0, mine)
        for other in others:
            other.kill()
            other.communicate()
    assert timing.waited > 0.3  # the process gets a third of the core
    assert timing.is_busy


def test_waiting_is_time_without_a_core() -> None:
    timing = Timing((1.0,), waited=0.0)
    assert not timing.is_busy
    slept = timed(lambda: time.sleep(0.01), repeats=3, warm_up=0)
    assert slept.waited > 0.5  # it had no core


def test_a_table_notes_times_from_a_busy_machine() -> None:
    test = {"wer": 0.1, "wer_ci95": (0.1, 0.1), "cer": 0.1, "cer_ci95": (0.1, 0.1)}
    row = {"kept": ["layers.0"], "params": 1e6, "macs": 1e9, "rtf": 0.5, "test": test}
    for is_busy in (True, False):
        screen = Screen(width=200)
        with screen.capture() as captured:
            screen.print(results_table({"sizes": {"1": {**row, "rtf_busy": is_busy}}}))
        said = " ".join(captured.get().split())
        assert (f"RTF: {BUSY[0].lower()}{BUSY[1:]}" in said) == is_busy
