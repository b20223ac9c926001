"""The cost of a supernet relative to sizes trained alone, with hand-computed values."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from selection.commands.worth import Alone, bills, found_alone
from selection.worth import main
from supernet.runs.former import updated
from supernet.runs.resolve import resolve
from supernet.runs.run import Run

NET = {"dim": 16, "num_heads": 2, "ffn_dim": 32, "kernel": 3, "frontend_channels": 2}
SETTINGS: dict[str, Any] = {
    "sizes": [2, 4],
    "model": NET,
    "method": {"name": "simple-top-k", "score_learning": 0.4},
    "passes": {"layer_drop": 0.0, "shares": {2: 0.5, 4: 0.5}, "smallest_first": 0.5},
    "train": {"num_steps": 100},
}


def alone(size: int, cost: float, gain: float) -> Alone:
    return Alone(f"{size}-{cost:g}", size, 100, cost, 0.1 + gain, gain, (gain - 0.01, gain + 0.01))


def test_bills_equal_hand_computed_values() -> None:
    trainings = [alone(4, 300, 0.0), alone(4, 400, -0.1), alone(2, 100, 0.3), alone(2, 250, 0.005)]
    found = {bill.sizes: bill for bill in bills(resolve([SETTINGS]), trainings)}
    # 40 steps of score learning run all four units, 30 steps the two of the smallest size, and 30 joint
    # steps two or four, for half of the rows each.
    assert found[2, 4].joint == pytest.approx(40 * 4 + 30 * 2 + 30 * 3, rel=0.1)
    assert found[4,].joint == pytest.approx(400)
    assert found[2, 4].as_long == 600
    assert found[4,].enough == 300  # the cheapest one, and a tie
    assert found[2,].enough == 250  # the training that costs 100 is clearly worse
    assert (found[2, 4].enough, found[2, 4].cheaper) == (550, "one supernet")
    assert found[4,].cheaper == "alone"


def test_without_a_training_alone_the_comparison_is_unknown() -> None:
    found = {bill.sizes: bill for bill in bills(resolve([SETTINGS]), [alone(4, 300, 0.3)])}
    assert all(bill.enough is None and bill.cheaper == "unknown" for bill in found.values())


@pytest.fixture
def both_runs(finished: tuple[Run, str], tmp_path: Path) -> Path:
    """A folder with the finished run and a stand-in for a size trained alone, whose transcripts are empty."""
    shutil.copytree(finished[0].folder, tmp_path / "joint")
    shutil.copytree(finished[0].folder, tmp_path / "small")
    small = Run(tmp_path / "small")
    data = small.config_data() | {"sizes": [2], "method": {"name": "individual", "kept": None}}
    small.config_file.write_text(yaml.safe_dump(data))
    rows = [f"{id}\t{reference}\t\n" for id, reference, _ in small.transcripts("test-2")]
    (small.folder / "transcripts" / "test-2.tsv").write_text("".join(rows))
    small.results_file.write_text(json.dumps(small.results() | {"unit_steps": 7}))
    return tmp_path


def test_trainings_of_single_sizes_are_found_and_compared(both_runs: Path) -> None:
    run = Run(both_runs / "joint")
    (found,) = found_alone(run, both_runs.iterdir())
    assert (found.name, found.size, found.updates, found.cost) == ("small", 2, 24, 7)
    assert found.rate == 1.0  # empty transcripts: every word is an error
    assert found.gain == pytest.approx(1.0 - run.results()["sizes"]["2"]["test"]["wer"])


def test_a_training_older_than_a_setting_is_found(both_runs: Path) -> None:
    small = Run(both_runs / "small")
    data = small.config_data()
    del data["task"]["num_workers"], data["train"]["validate_every"]
    small.config_file.write_text(yaml.safe_dump(data))
    assert [one.name for one in found_alone(Run(both_runs / "joint"), [small.folder])] == ["small"]


def test_a_supernet_older_than_smallest_first_is_counted_as_it_was_trained() -> None:
    data = resolve([SETTINGS]).config.model_dump(mode="json")
    assert updated(data)["passes"]["smallest_first"] == 0.5
    del data["passes"]["smallest_first"]
    assert updated(data)["passes"]["smallest_first"] == 0


def test_a_training_of_another_network_is_ignored(both_runs: Path) -> None:
    small = Run(both_runs / "small")
    data = small.config_data()
    data["model"]["dim"] = 32
    small.config_file.write_text(yaml.safe_dump(data))
    assert found_alone(Run(both_runs / "joint"), both_runs.iterdir()) == []


def test_results_on_other_utterances_are_an_error(
    both_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = both_runs / "small" / "transcripts" / "test-2.tsv"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(SystemExit, match="2"):
        main([str(both_runs / "joint")])
    assert "must have been tested on the utterances of" in capsys.readouterr().err


def test_the_command_prints_its_tables(
    both_runs: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)  # where the corpus is
    monkeypatch.setenv("COLUMNS", "160")
    main([str(both_runs / "joint")])
    out = capsys.readouterr().out
    assert "small" in out
    assert "Unit-steps for each set of sizes" in out


def test_an_unfinished_run_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("{}")
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path)])
    assert "`RUN` must have been trained to the end" in capsys.readouterr().err
