"""``python -m selection`` for budgets of every kind, modules, and a run without scores."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from selection import __main__ as command
from supernet.runs.run import Run
from tests.selection.commands.selecting import NAMES, QUICK, comparison, rows
from tests.supernet.processes import run

pytestmark = pytest.mark.slow


def test_all_kinds_of_budgets_are_met(
    finished: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished[0].folder, here / "runs" / "budgets")
    asked = ["params=70%", "macs=60%", "latency=80%", "units=75%"]
    options = [word for budget in asked for word in ("--budget", budget)]
    command.main(["runs/budgets", "--strategies", "learned,exhaustive", *options, *QUICK])
    out, found = capsys.readouterr().out, Run(here / "runs" / "budgets")
    for budget in asked:
        assert budget in out
        (contest,) = (c for c in comparison(found)["contests"] if c["budget"] == budget)
        for row in contest["rows"]:
            over = row["costs"][contest["quantity"]] / contest["limit"] - 1
            assert row["over"] == (pytest.approx(over) if over > 1e-9 else 0.0)
            assert contest["quantity"] == "latency" or not row["over"]
    assert len(rows(found, "units=75%")["learned"]["kept"]) == 3
    errors = comparison(found)["latency_error"]["latency=80%"]
    assert set(errors) == {"full network", "learned", "exhaustive"}
    assert all(summed > 0 and whole > 0 for summed, whole in errors.values())
    # Latencies are measured once, so that the same command makes the same choices, unless asked for again.
    first = limits(found)
    command.main(["runs/budgets", "--strategies", "learned,exhaustive", *options, *QUICK])
    assert limits(found) == first
    command.main(["runs/budgets", "--strategies", "learned,exhaustive", *options, *QUICK, "--retime"])
    assert {**limits(found), "latency=80%": 0.0} == {**first, "latency=80%": 0.0}
    assert limits(found)["latency=80%"] != first["latency=80%"]


def limits(found: Run) -> dict[str, float]:
    return {contest["budget"]: contest["limit"] for contest in comparison(found)["contests"]}


def test_modules_can_be_chosen(place: Path) -> None:
    from tests.conftest import train

    found, _ = train(place, "modules", "--granularity", "module", "--sizes", "8,16")
    out, _ = run("selection", "runs/modules", "--sizes", "5", "--budget", "params=60%", *QUICK, cwd=place)
    assert len(rows(found, "5")["greedy"]["kept"]) == 5
    assert "exhaustive did not choose for params=60%" in out
    assert "65,535 subnets" in out


def test_a_run_without_scores_has_no_learned_choice(place: Path) -> None:
    from tests.conftest import train

    found, _ = train(place, "ondemand", "--method", "on-demand")
    out, _ = run("selection", "runs/ondemand", "--sizes", "2", *QUICK, cwd=place)
    assert "learned did not choose for 2: the training method learned no scores" in out
    assert set(rows(found, "2")) == set(NAMES) - {"learned"}
    _, err = run("selection", "runs/ondemand", "--strategies", "learned", cwd=place, status=2)
    assert "`--strategies` learned must be able to choose, but cannot" in err
