"""``python -m selection`` with all strategies: the files that it writes and other commands read."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
import soundfile

from selection import __main__ as command
from selection.measuring.evidence_store import EvidenceStore, Judged
from supernet import cut, evaluate, transcribe
from supernet.runs.model_file import load
from supernet.runs.run import Run
from supernet.runs.selection_file import Selection
from tests.selection.commands.selecting import NAMES, QUICK, comparison, count, rows
from tests.supernet.processes import run
from tests.supernet.reporting.html import Page
from tests.tasks.folders import tone

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def all_strategies(finished: tuple[Run, str], place: Path) -> tuple[Run, str]:
    """A copy of the finished run with the selections of all strategies, and the command's output."""
    shutil.copytree(finished[0].folder, place / "runs" / "all")
    out, _ = run("selection", "runs/all", "--sizes", "1,2,4", *QUICK, cwd=place)
    return Run(place / "runs" / "all"), out


def test_every_strategy_chooses_and_is_compared(all_strategies: tuple[Run, str]) -> None:
    found, out = all_strategies
    for budget in ("1", "2"):
        assert set(rows(found, budget)) == set(NAMES)
    assert set(rows(found, "4")) == {"all units"}
    for name in NAMES:
        assert name in out
        assert {c.budget for c in Selection.load(found.selection_file(name)).choices} == {"1", "2", "4"}
    assert "report.html" in out


def test_regrets_are_relative_to_the_best_of_all_subsets(all_strategies: tuple[Run, str]) -> None:
    for budget, number in (("1", 4), ("2", 6)):
        found = rows(all_strategies[0], budget)
        best = found["exhaustive"]
        assert best["evaluations"] == number
        assert best["regret"] == 0
        for row in found.values():
            assert row["regret"] == pytest.approx(row["loss"] - best["loss"])
            assert 0 <= row["beats"] < 1
            assert row["difference"]["same"] == (row["kept"] == best["kept"])
            assert len(row["kept"]) == row["costs"]["units"] == int(budget)


def test_greedy_needs_the_expected_number_of_evaluations(all_strategies: tuple[Run, str]) -> None:
    assert rows(all_strategies[0], "2")["greedy"]["evaluations"] == 4 + 3
    assert rows(all_strategies[0], "1")["greedy"]["evaluations"] == 4 + 3 + 2
    assert rows(all_strategies[0], "2")["greedy-forward"]["evaluations"] == 4 + 3
    assert rows(all_strategies[0], "2")["tail"]["evaluations"] == 0


def test_learned_makes_the_choice_of_the_run_itself(all_strategies: tuple[Run, str]) -> None:
    found = all_strategies[0]
    chosen = Selection.load(found.selection_file("learned"))
    assert chosen.choice("2").subnet == found.subnets()["2"]
    assert rows(found, "2")["learned"]["wer"] == found.results()["sizes"]["2"]["test"]["wer"]
    assert rows(found, "4")["all units"]["wer"] == found.results()["sizes"]["4"]["test"]["wer"]


def test_costs_equal_those_of_the_cut_models(all_strategies: tuple[Run, str]) -> None:
    found = all_strategies[0]
    measured = found.results()["sizes"]
    for size, name in (("2", "learned"), ("4", "all units")):
        assert rows(found, size)[name]["costs"]["params"] == measured[size]["params"]


def test_the_selection_is_added_to_the_page_of_the_run(all_strategies: tuple[Run, str]) -> None:
    page = Page(all_strategies[0].report_file.read_text(encoding="utf-8"))
    assert page.outside == []
    assert len(page.pictures) == 5 + 2 + 2 + 2  # of the training, choices, costs, evidence and similarities
    for name in NAMES:
        assert name in page.text
    for size, row in all_strategies[0].results()["sizes"].items():
        assert f"{size} {row['params'] / 1e6:.2f} M" in page.text


def test_repeating_a_selection_scores_nothing_again(all_strategies: tuple[Run, str], place: Path) -> None:
    found = all_strategies[0]
    before, judged = comparison(found), count(found)
    out, _ = run("selection", "runs/all", "--sizes", "1,2,4", *QUICK, cwd=place)
    assert count(found) == judged
    assert comparison(found) == before
    assert out == all_strategies[1]


def test_a_selection_can_be_used_by_other_commands(
    all_strategies: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found, file = all_strategies[0], str(all_strategies[0].selection_file("exhaustive"))
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


def test_a_selection_for_another_network_is_an_error(
    all_strategies: tuple[Run, str], zeroed: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for main in (evaluate.main, cut.main):
        more = [] if main is evaluate.main else ["--out", "x"]
        with pytest.raises(SystemExit) as end:
            main(["runs/zeroed", "--selection", str(all_strategies[0].selection_file("tail")), *more])
        assert end.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "must have been made for the network of 'runs/zeroed'" in line
    assert not (here / "x").exists()


def test_an_interrupted_selection_continues_with_the_same_results(
    all_strategies: tuple[Run, str],
    finished: tuple[Run, str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The interruption comes after the first subnets have been scored."""
    shutil.copytree(finished[0].folder, here / "runs" / "interrupted")
    found, arguments = Run(here / "runs" / "interrupted"), ["runs/interrupted", "--sizes", "1,2,4", *QUICK]
    add = EvidenceStore.add_judged

    def add_and_interrupt(self: EvidenceStore, context: str, rows: Mapping[str, Judged]) -> None:
        add(self, context, rows)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(EvidenceStore, "add_judged", add_and_interrupt)
        with pytest.raises(SystemExit, match="130"):
            command.main(arguments)
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "The same command continues" in err
    assert not found.comparison_file.exists()
    assert count(found) > 0
    command.main(arguments)
    for budget in ("1", "2"):
        expected = rows(all_strategies[0], budget)
        for name, row in rows(found, budget).items():
            same = {key: row[key] for key in ("kept", "loss", "wer", "evaluations", "beats")}
            assert same == {key: expected[name][key] for key in same}, name
