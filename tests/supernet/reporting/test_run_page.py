"""The page of a run, which shows the numbers in the files and escapes untrusted text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supernet.config import Config
from supernet.errors import UserError
from supernet.reporting.run_page import write
from supernet.reporting.trained import phases_of, results_of, scores_of
from supernet.runs.run import Run
from tests.supernet.reporting.html import Page

UNITS = [f"layers.{i}" for i in range(4)]
HOSTILE = "\"><script>alert('1')</script>&amp;$x^{\x1b[31m\ud800"


def config_of(run: Run) -> Config:
    return Config.model_validate(run.config_data())


@pytest.fixture(scope="module")
def page(finished: tuple[Run, str]) -> Page:
    return Page(finished[0].report_file.read_text(encoding="utf-8"))


def test_the_page_has_the_results_and_the_next_commands(finished: tuple[Run, str], page: Page) -> None:
    run, results = finished[0], finished[0].results()
    assert page.text.startswith(f"{run.folder.name} {run.folder.name} ")
    for size, row in results["sizes"].items():
        test = row["test"]
        low, high = test["wer_ci95"]
        assert f"{size} {row['params'] / 1e6:.2f} M {row['macs'] / 1e9:.2f} G" in page.text
        assert f"{100 * test['wer']:.2f} % ({100 * low:.1f}–{100 * high:.1f})" in page.text
        assert f"{100 * test['cer']:.2f} %" in page.text
        assert f"transcripts/test-{size}.html" in page.links
        assert (run.folder / f"transcripts/test-{size}.html").is_file()
    assert f"Updates {results['steps']}" in page.text
    assert f"Compute {results['unit_steps']:,} unit-steps" in page.text
    for command in ("transcribe", "evaluate", "cut", "export", "latency"):
        assert f"python -m supernet.{command} " in page.text
    assert "python -m selection " in page.text


def test_every_picture_has_a_title_axes_and_phases(finished: tuple[Run, str], page: Page) -> None:
    run = finished[0]
    assert page.outside == []
    sizes, kept, wer, loss, scores = page.pictures
    assert "MACs for 10 s of audio (G)" in sizes.texts
    assert "test WER (95 % interval)" in sizes.texts
    assert {"2 units", "4 units"} <= set(kept.texts)
    assert {"validation WER", "updates"} <= set(wer.texts)
    assert {"CTC loss per frame (nats)", "updates"} <= set(loss.texts)
    assert {"score", "gate (1: open)", "cut of 2 units", "updates"} <= set(scores.texts)
    phases = dict.fromkeys(name for name, _ in run.results()["phases"])
    assert {f"▸{name}" for name in phases} <= set(wer.texts)
    for picture in page.pictures:
        assert picture.title
        assert set(picture.targets) <= set(picture.ids)
    for name in ("sizes", "kept", "wer", "loss", "scores"):
        assert (run.pictures / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("smallest", ["2", "macs=50%"])
def test_thresholds_are_explained_if_drawn(finished: tuple[Run, str], tmp_path: Path, smallest: str) -> None:
    """Budgets have no threshold: their units are chosen by score per cost."""
    shutil.copytree(finished[0].folder, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    run, results = Run(tmp_path / "run"), finished[0].results()
    results["sizes"][smallest] = results["sizes"].pop("2")
    run.subnet_file("2").rename(run.subnet_file(smallest))
    run.save_results(results)
    write(run, config_of(finished[0]), UNITS)
    page = Page(run.report_file.read_text(encoding="utf-8"))
    (scores,) = (picture for picture in page.pictures if "score" in picture.texts)
    said = " ".join((scores.title, *scores.texts))
    assert ("dashed" in said, "threshold" in said, "cut of" in said) == (smallest == "2",) * 3


def test_phases_of_older_runs_are_derived_from_their_scores(finished: tuple[Run, str]) -> None:
    results, lines = results_of(finished[0]), scores_of(finished[0])
    assert results.phases is not None
    found = phases_of(results.model_copy(update={"phases": None}), lines)
    assert [name for name, _ in found] == list(dict.fromkeys(name for name, _ in results.phases))
    assert found[0][1] == 0


def test_untrusted_text_is_escaped(finished: tuple[Run, str], tmp_path: Path) -> None:
    folder = tmp_path / "\"><script>alert('1')<&$x^"
    shutil.copytree(finished[0].folder, folder, ignore=shutil.ignore_patterns("checkpoints"))
    run, results = Run(folder), finished[0].results()
    results["phases"] = [[HOSTILE, 0], [HOSTILE * 9, 8]]
    for row in results["sizes"].values():
        row["kept"] = [f"layers.{i}.{HOSTILE}" for i in range(2)]
    run.save_results(results)
    write(run, config_of(finished[0]), [f"layers.{i}.{HOSTILE}" for i in range(4)])
    html = run.report_file.read_text(encoding="utf-8")
    assert "<script" not in html
    page = Page(html)
    assert page.outside == []
    assert "alert('1')" in page.text


@pytest.mark.parametrize(("busy", "measure"), [(False, "wer"), (True, "cer")])
def test_the_page_names_the_error_rate_and_a_busy_machine(
    finished: tuple[Run, str], tmp_path: Path, busy: bool, measure: str
) -> None:
    shutil.copytree(finished[0].folder, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    run, results = Run(tmp_path / "run"), finished[0].results()
    for row in results["sizes"].values():
        row["rtf_busy"], row["test"]["measure"] = busy, measure
    run.save_results(results)
    write(run, config_of(finished[0]), UNITS)
    page = Page(run.report_file.read_text(encoding="utf-8"))
    assert ("The machine was busy" in page.text) == busy
    assert any(f"Test {measure.upper()} of each size against its cost" in p.texts for p in page.pictures)


def test_a_run_without_curves_and_scores_has_a_page(finished: tuple[Run, str], tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(finished[0].folder, folder, ignore=shutil.ignore_patterns("checkpoints", "metrics"))
    Run(folder).scores_file.unlink()
    write(Run(folder), config_of(finished[0]), UNITS)
    assert len(Page(Run(folder).report_file.read_text(encoding="utf-8")).pictures) == 2


NAMES = st.sampled_from(["sizes", "2", "test", "kept", "macs"])
DATA = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(DATA)
def test_invalid_results_are_errors(tmp_path: Path, data: object) -> None:
    run = Run(tmp_path)
    run.results_file.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"results\.json"):
        results_of(run)


@pytest.mark.parametrize("line", ['{"step": 1}', '{"step": 1, "phase": "x", "scores": ["a"]}'])
def test_invalid_scores_are_errors(tmp_path: Path, line: str) -> None:
    run = Run(tmp_path)
    run.scores_file.write_text(line + "\n")
    with pytest.raises(UserError, match=r"scores\.jsonl' must be a line of scores, but is not: `\w+"):
        scores_of(run)
