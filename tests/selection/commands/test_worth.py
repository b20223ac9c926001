"""The cost of a supernet against sizes trained alone: hand-counted bills and hand-made transcripts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from selection.commands.worth import Alone, bills, found_alone
from selection.worth import main
from supernet.runs.resolve import resolve, updated
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


def test_bills_by_hand() -> None:
    trainings = [alone(4, 300, 0.0), alone(4, 400, -0.1), alone(2, 100, 0.3), alone(2, 250, 0.005)]
    found = {bill.sizes: bill for bill in bills(resolve([SETTINGS]), trainings)}
    # 40 steps of score learning run all four units, 30 the smallest size's two, 30 joint steps two or four,
    # half of the rows each.
    assert found[2, 4].joint == pytest.approx(40 * 4 + 30 * 2 + 30 * 3, rel=0.1)
    assert found[4,].joint == pytest.approx(400)
    assert found[2, 4].as_long == 600
    assert found[4,].enough == 300  # a tie, and the cheapest
    assert found[2,].enough == 250  # the one of 100 is clearly worse
    assert (found[2, 4].enough, found[2, 4].cheaper) == (550, "one supernet")
    assert found[4,].cheaper == "alone"


def test_what_nobody_has_trained_alone_is_not_known() -> None:
    found = {bill.sizes: bill for bill in bills(resolve([SETTINGS]), [alone(4, 300, 0.3)])}
    assert all(bill.enough is None and bill.cheaper == "unknown" for bill in found.values())


@pytest.fixture
def beside(finished: tuple[Run, str], tmp_path: Path) -> Path:
    """The finished run, and next to it a stand-in for a size trained alone, whose output is empty."""
    shutil.copytree(finished[0].folder, tmp_path / "joint")
    shutil.copytree(finished[0].folder, tmp_path / "small")
    small = Run(tmp_path / "small")
    data = small.config_data() | {"sizes": [2], "method": {"name": "individual", "kept": None}}
    small.config_file.write_text(yaml.safe_dump(data))
    rows = [f"{id}\t{reference}\t\n" for id, reference, _ in small.transcripts("test-2")]
    (small.folder / "transcripts" / "test-2.tsv").write_text("".join(rows))
    small.results_file.write_text(json.dumps(small.results() | {"unit_steps": 7}))
    return tmp_path


def test_trainings_of_a_size_alone_are_found_and_compared_in_pairs(beside: Path) -> None:
    run = Run(beside / "joint")
    (found,) = found_alone(run, beside.iterdir())
    assert (found.name, found.size, found.updates, found.cost) == ("small", 2, 24, 7)
    assert found.rate == 1.0  # nothing is written: every word is an error
    assert found.gain == pytest.approx(1.0 - run.results()["sizes"]["2"]["test"]["wer"])


def test_a_training_from_before_a_setting_existed_is_found(beside: Path) -> None:
    small = Run(beside / "small")
    data = small.config_data()
    del data["task"]["num_workers"], data["train"]["validate_every"]
    small.config_file.write_text(yaml.safe_dump(data))
    assert [one.name for one in found_alone(Run(beside / "joint"), [small.folder])] == ["small"]


def test_a_supernet_from_before_the_smallest_size_came_first_is_priced_as_it_was_trained() -> None:
    data = resolve([SETTINGS]).config.model_dump(mode="json")
    assert updated(data)["passes"]["smallest_first"] == 0.5
    del data["passes"]["smallest_first"]
    assert updated(data)["passes"]["smallest_first"] == 0


def test_a_training_of_another_network_is_passed_over(beside: Path) -> None:
    small = Run(beside / "small")
    data = small.config_data()
    data["model"]["dim"] = 32
    small.config_file.write_text(yaml.safe_dump(data))
    assert found_alone(Run(beside / "joint"), beside.iterdir()) == []


def test_other_utterances_are_refused(beside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = beside / "small" / "transcripts" / "test-2.tsv"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(SystemExit, match="2"):
        main([str(beside / "joint")])
    assert "must have been tested on the utterances of" in capsys.readouterr().err


def test_the_tables(
    beside: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)  # where the corpus is
    monkeypatch.setenv("COLUMNS", "160")
    main([str(beside / "joint")])
    out = capsys.readouterr().out
    assert "small" in out
    assert "Unit-steps for each set of sizes" in out


def test_a_run_that_is_not_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("{}")
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path)])
    assert "`RUN` must have been trained to the end" in capsys.readouterr().err
