"""``python -m selection.study curves`` from its options to its reports, with short trainings."""

from __future__ import annotations

from pathlib import Path

import pytest

from selection.study.__main__ import main
from supernet.runs.run import Run
from tests.selection.commands.studies import lines
from tests.supernet.reporting.html import Page

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("at_desk")]


def test_learning_curves_train_each_size_alone_at_its_own_rate(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = desk / "studies" / "curves"
    main(["curves", "--config", "curves.yaml", "--out", str(folder)])
    runs = {path.name: Run(path) for path in (folder / "runs").iterdir()}
    found = lines(folder)
    picked = {line["size"]: f"{float(line['lr']):g}" for line in found}
    assert set(runs) == {
        *(f"{size}-12-rate{rate}-seed0" for size in (2, 4) for rate in ("0.002", "0.001")),
        *(f"{size}-24-rate{picked[size]}-seed0" for size in ("2", "4")),
    }
    for name, run in runs.items():
        size, steps = map(int, name.split("-")[:2])
        config = run.config_data()
        assert (config["sizes"], config["train"]["num_steps"]) == ([size], steps)
        assert config["method"]["name"] == "individual"
    assert [(line["updates"], line["size"]) for line in found] == [
        ("12", "2"), ("12", "4"), ("24", "2"), ("24", "4"),
    ]  # fmt: skip
    out = capsys.readouterr().out
    assert "After 24 updates, from the best: " in out
    for line in found:
        assert float(line["lr"]) == float(picked[line["size"]])
        assert f"{100 * float(line['error']):.2f}" in out
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert page.outside == []
    (picture,) = page.pictures
    assert {"2 units", "4 units", "updates"} <= set(picture.texts)
    before = (folder / "report.html").read_text(encoding="utf-8")
    main(["report", str(folder)])
    assert (folder / "report.html").read_text(encoding="utf-8") == before
