"""``python -m selection`` on a finished run: what it writes, and what others accept of it."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import soundfile

from selection import __main__ as command
from selection.measuring.evidence_store import EvidenceStore
from supernet import cut, evaluate, transcribe
from supernet.console.screen import console
from supernet.runs.checkpoint import load
from supernet.runs.run import Run
from supernet.runs.selection_file import Selection
from tests.supernet.processes import run, start
from tests.supernet.reporting.html import Page
from tests.tasks.folders import tone

QUICK = ("--utterances", "4", "--frozen-steps", "3", "--seconds", "1")


@pytest.fixture(scope="module")
def everything(finished: tuple[Run, str], place: Path) -> tuple[Run, str]:
    """All strategies on a copy of the finished run."""
    shutil.copytree(finished[0].folder, place / "runs" / "all")
    out, _ = run("selection", "runs/all", "--sizes", "1,2,4", *QUICK, cwd=place)
    return Run(place / "runs" / "all"), out


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    monkeypatch.setattr(console, "width", 200)
    return place


def comparison(found: Run) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(found.comparison_file.read_text())
    return data


def rows(found: Run, budget: str) -> dict[str, dict[str, Any]]:
    (contest,) = (c for c in comparison(found)["contests"] if c["budget"] == budget)
    return {row["strategy"]: row for row in contest["rows"]}


NAMES = (
    "learned", "simple-top-k", "iterative-zero-out", "tail", "every-other", "random", "greedy",
    "greedy-forward", "leave-one-out", "similarity", "similarity-svcca", "gradient", "evolution",
    "exhaustive", "optuna",
)  # fmt: skip


def test_every_strategy_chooses_and_is_compared(everything: tuple[Run, str]) -> None:
    found, out = everything
    for budget in ("1", "2"):
        assert set(rows(found, budget)) == set(NAMES)
    assert set(rows(found, "4")) == {"all units"}
    for name in NAMES:
        assert name in out
        assert {c.budget for c in Selection.load(found.selection_file(name)).choices} == {"1", "2", "4"}
    assert "report.html" in out


def test_regrets_are_distances_to_the_best_of_all_subsets(everything: tuple[Run, str]) -> None:
    for budget, count in (("1", 4), ("2", 6)):
        found = rows(everything[0], budget)
        best = found["exhaustive"]
        assert best["evaluations"] == count
        assert best["regret"] == 0
        for row in found.values():
            assert row["regret"] == pytest.approx(row["loss"] - best["loss"])
            assert 0 <= row["beats"] < 1
            assert row["difference"]["same"] == (row["kept"] == best["kept"])
            assert len(row["kept"]) == row["costs"]["units"] == int(budget)


def test_greedy_asks_as_often_as_a_search_must(everything: tuple[Run, str]) -> None:
    assert rows(everything[0], "2")["greedy"]["evaluations"] == 4 + 3
    assert rows(everything[0], "1")["greedy"]["evaluations"] == 4 + 3 + 2
    assert rows(everything[0], "2")["greedy-forward"]["evaluations"] == 4 + 3
    assert rows(everything[0], "2")["tail"]["evaluations"] == 0


def test_learned_is_what_the_run_itself_chose(everything: tuple[Run, str]) -> None:
    found = everything[0]
    chosen = Selection.load(found.selection_file("learned"))
    assert chosen.choice("2").subnet == found.subnets()["2"]
    assert rows(found, "2")["learned"]["wer"] == found.results()["sizes"]["2"]["test"]["wer"]
    assert rows(found, "4")["all units"]["wer"] == found.results()["sizes"]["4"]["test"]["wer"]


def test_costs_are_those_of_the_cut_models(everything: tuple[Run, str]) -> None:
    found = everything[0]
    measured = found.results()["sizes"]
    for size, name in (("2", "learned"), ("4", "all units")):
        assert rows(found, size)[name]["costs"]["params"] == measured[size]["params"]


def test_the_page_of_the_training_is_completed(everything: tuple[Run, str]) -> None:
    page = Page(everything[0].report_file.read_text(encoding="utf-8"))
    assert page.outside == []
    assert len(page.pictures) == 5 + 2 + 2 + 2  # the training's, choices, costs, facts and similarities
    for name in NAMES:
        assert name in page.text
    for size, row in everything[0].results()["sizes"].items():
        assert f"{size} {row['params'] / 1e6:.2f} M" in page.text


def test_the_second_time_nothing_is_scored(everything: tuple[Run, str], place: Path) -> None:
    found = everything[0]
    before, judged = comparison(found), count(found)
    out, _ = run("selection", "runs/all", "--sizes", "1,2,4", *QUICK, cwd=place)
    assert count(found) == judged
    assert comparison(found) == before
    assert out == everything[1]


def count(found: Run) -> int:
    (number,) = (
        EvidenceStore(found.evidence_file)._connection.execute("SELECT COUNT(*) FROM judged").fetchone()
    )
    return int(number)


def test_choices_for_other_budgets_stay(everything: tuple[Run, str], here: Path) -> None:
    shutil.copytree(everything[0].folder, here / "runs" / "more")
    command.main(["runs/more", "--strategies", "tail", "--sizes", "3", *QUICK])
    tail = Selection.load(here / "runs" / "more" / "selections" / "tail.json")
    assert [c.budget for c in tail.choices] == ["4", "3", "2", "1"]
    assert [c.subnet.size for c in tail.choices] == [4, 3, 2, 1]


def test_budgets_of_every_kind(
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
    assert set(errors) == {"full net", "learned", "exhaustive"}
    assert all(summed > 0 and whole > 0 for summed, whole in errors.values())
    # Measured milliseconds are kept, so that the same command chooses the same, until they are wanted anew.
    first = limits(found)
    command.main(["runs/budgets", "--strategies", "learned,exhaustive", *options, *QUICK])
    assert limits(found) == first
    command.main(["runs/budgets", "--strategies", "learned,exhaustive", *options, *QUICK, "--retime"])
    assert {**limits(found), "latency=80%": 0.0} == {**first, "latency=80%": 0.0}
    assert limits(found)["latency=80%"] != first["latency=80%"]


def limits(found: Run) -> dict[str, float]:
    return {contest["budget"]: contest["limit"] for contest in comparison(found)["contests"]}


def test_modules_are_chosen_too(place: Path) -> None:
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


def test_a_selection_is_scored_transcribed_and_cut(
    everything: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found, file = everything[0], str(everything[0].selection_file("exhaustive"))
    evaluate.main(["runs/all", "--selection", file])
    out = capsys.readouterr().out
    for budget in ("1", "2"):
        assert f"{rows(found, budget)['exhaustive']['wer']:.2%}" in out
    assert "chosen by exhaustive" in out
    assert (found.folder / "transcripts" / "test-exhaustive-2.tsv").is_file()
    cut.main(["runs/all", "--selection", file, "--size", "1", "--out", str(tmp_path / "one")])
    kept = Selection.load(found.selection_file("exhaustive")).choice("1").subnet.kept
    assert tuple(unit.name for unit in load(tmp_path / "one" / "model").recognizer.table.units) == kept
    soundfile.write(tmp_path / "a.wav", tone(1.0), 16_000)
    transcribe.main(["runs/all", "--selection", file, "--budget", "2", str(tmp_path / "a.wav")])
    assert "a.wav\t" in capsys.readouterr().out


def test_a_selection_for_another_network_is_refused(
    everything: tuple[Run, str], zeroed: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for main in (evaluate.main, cut.main):
        more = [] if main is evaluate.main else ["--out", "x"]
        with pytest.raises(SystemExit) as end:
            main(["runs/zeroed", "--selection", str(everything[0].selection_file("tail")), *more])
        assert end.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "must have been made for the network of 'runs/zeroed'" in line
    assert not (here / "x").exists()


def test_interrupted_work_continues_and_ends_the_same(
    everything: tuple[Run, str], finished: tuple[Run, str], place: Path
) -> None:
    shutil.copytree(finished[0].folder, place / "runs" / "interrupted")
    found = Run(place / "runs" / "interrupted")
    process = start(["selection", "runs/interrupted", "--sizes", "1,2,4", *QUICK], place)
    while not (found.evidence_file.exists() and count(found)):  # early: a busy machine polls late
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "The same command continues" in err
    assert not found.comparison_file.exists()
    assert count(found) > 0
    run("selection", "runs/interrupted", "--sizes", "1,2,4", *QUICK, cwd=place)
    for budget in ("1", "2"):
        expected = rows(everything[0], budget)
        for name, row in rows(found, budget).items():
            same = {key: row[key] for key in ("kept", "loss", "wer", "evaluations", "beats")}
            assert same == {key: expected[name][key] for key in same}, name


def choices_of(found: Run) -> dict[str, Any]:
    """The comparison without computing times, which depend on who asked first."""
    data = comparison(found)
    for contest in data["contests"]:
        for row in contest["rows"]:
            del row["seconds"]
    return data


def test_a_second_selection_adds_to_the_first_in_any_order(finished: tuple[Run, str], here: Path) -> None:
    asked = [
        ["--strategies", "greedy,exhaustive", "--sizes", "2"],
        ["--strategies", "tail,learned,random", "--sizes", "2,3", "--budget", "params=70%"],
    ]
    found = []
    for name, orders in (("ab", asked), ("ba", asked[::-1])):
        shutil.copytree(finished[0].folder, here / "runs" / name)
        for options in orders:
            command.main([f"runs/{name}", *options, *QUICK])
        found.append(Run(here / "runs" / name))
    first, second = map(choices_of, found)
    assert {**first, "run": ""} == {**second, "run": ""}
    assert {c["budget"]: {row["strategy"] for row in c["rows"]} for c in first["contests"]} == {
        "2": {"greedy", "exhaustive", "tail", "learned", "random"},
        "3": {"tail", "learned", "random"},
        "params=70%": {"tail", "learned", "random"},
    }
    assert all(row["beats"] is not None for row in rows(found[0], "2").values()), "still exact"
    (contest,) = (c for c in first["contests"] if c["budget"] == "2")
    assert set(contest["pairs"]) == {"greedy", "exhaustive", "tail", "learned", "random"}


def test_only_what_is_asked_again_is_replaced_and_the_table_says_what_is_new(
    everything: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(everything[0].folder, here / "runs" / "replaced")
    found = Run(here / "runs" / "replaced")
    before, judged = rows(found, "2"), count(found)
    options = ["--strategies", "greedy,tail", "--sizes", "2,3"]
    command.main(["runs/replaced", *options, *QUICK])
    out = capsys.readouterr().out
    assert rows(found, "2") == before
    assert set(rows(found, "3")) == {"greedy", "tail"}
    assert set(rows(found, "1")) == set(NAMES)
    assert out.count(" + ") == 2, "greedy and tail for 3 units"
    assert count(found) - judged <= 4 + 4, "only subnets of three units, on either split"


def test_choices_that_no_longer_meet_their_budget_are_named_and_left_out(
    finished: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished[0].folder, here / "runs" / "costs")
    command.main(["runs/costs", "--strategies", "tail", "--sizes", "2", "--budget", "macs=70%", *QUICK])
    other = ["--utterances", "3", "--frozen-steps", "3", "--seconds", "2"]
    command.main(["runs/costs", "--strategies", "random", "--sizes", "2", *other])
    found = Run(here / "runs" / "costs")
    assert [c["budget"] for c in comparison(found)["contests"]] == ["2"]
    assert {name: row["num_valid"] for name, row in rows(found, "2").items()} == {"tail": 4, "random": 3}
    assert "tail did not choose for macs=70%: its earlier choice was made for other costs" in (
        " ".join(capsys.readouterr().out.split())
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '{"contests": 3}', '{"run": "x"}', "\x00"])
def test_a_comparison_that_is_something_else_is_said_to_be(
    text: str, finished: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished[0].folder, here / "runs" / "odd", dirs_exist_ok=True)
    file = Run(here / "runs" / "odd").comparison_file
    file.write_text(text)
    with pytest.raises(SystemExit) as ended:
        command.main(["runs/odd", "--strategies", "tail", "--sizes", "2", *QUICK])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "comparison.json' must be a comparison of choices, but is not" in line
    assert file.read_text() == text


def test_a_comparison_of_another_network_is_replaced(
    everything: tuple[Run, str], zeroed: tuple[Run, str], here: Path
) -> None:
    shutil.copytree(zeroed[0].folder, here / "runs" / "others")
    found = Run(here / "runs" / "others")
    shutil.copy(everything[0].comparison_file, found.comparison_file)
    command.main(["runs/others", "--strategies", "tail", "--sizes", "2", *QUICK])
    assert [c["budget"] for c in comparison(found)["contests"]] == ["2"]
    assert set(rows(found, "2")) == {"tail"}
