"""Training, from a corpus to a run folder, in real processes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from supernet.commands.advice import left_out, unlearned
from supernet.runs.run import Run
from supernet.train import main
from tests.supernet.processes import LEARNING, SECRET, digest, run, run_ranks, settings

pytestmark = pytest.mark.slow

FILES = """
config.yaml tokens.txt skipped.tsv model.safetensors model.json subnets/2.json subnets/4.json scores.jsonl
metrics/train.jsonl metrics/valid.jsonl tb checkpoints/step_20 results.json transcripts/test-2.tsv
pictures/scores.png pictures/kept.png pictures/loss.png pictures/wer.png pictures/sizes.png report.html
"""


def test_a_run_folder_is_complete(finished: tuple[Run, str]) -> None:
    folder = finished[0].folder
    for name in FILES.split():
        assert (folder / name).exists(), name
    assert list((folder / "tb").rglob("events.*"))
    assert not [path for path in folder.rglob("*.tmp") if path.is_file()]
    assert (folder / "pictures/loss.png").read_bytes().startswith(b"\x89PNG")


def test_results_have_the_documented_format(finished: tuple[Run, str]) -> None:
    results = json.loads(finished[0].results_file.read_text())
    assert next(iter(results)) == "sizes"
    assert set(results["sizes"]) == {"2", "4"}
    for size, row in results["sizes"].items():
        assert len(row["kept"]) == int(size)
        assert row["kept"] == list(finished[0].subnets()[size].kept)
        assert {type(row["params"]), type(row["macs"])} == {int}
        assert row["rtf"] > 0
        test = row["test"]
        assert (test["words"], test["utterances"]) == (16, 8)
        low, high = test["wer_ci95"]
        assert 0 <= low <= test["wer"] <= high
        assert test["cer"] >= 0
    assert results["sizes"]["2"]["params"] < results["sizes"]["4"]["params"]
    assert results["sizes"]["2"]["macs"] < results["sizes"]["4"]["macs"]


def test_the_end_is_a_table_with_every_size(finished: tuple[Run, str]) -> None:
    run_, printed = finished
    results = run_.results()
    for size, row in results["sizes"].items():
        (line,) = [x for x in printed.splitlines() if x.startswith("│") and x.split("│")[1].strip() == size]
        assert f"{row['test']['wer']:.2%}" in line
        assert f"{row['macs'] / 1e9:.2f} G" in line


def test_a_network_that_gets_nothing_right_is_reported_with_its_cause_and_a_remedy(
    finished: tuple[Run, str], place: Path
) -> None:
    shutil.copytree(finished[0].folder, place / "runs" / "silent")
    silent = Run(place / "runs" / "silent")
    results = dict(silent.results())
    for row in results["sizes"].values():
        row["test"]["wer"] = 0.95
    silent.save_results(results)
    out, _ = run("supernet.train", *settings(), *LEARNING, "--out", "runs/silent", cwd=place)
    said = " ".join(out.split())
    assert "sizes 2, 4 get hardly a word right" in said
    assert "--preset early-peak" in said


def test_only_sizes_that_get_nothing_right_are_named() -> None:
    rates = {"6": 0.05, "9": 0.3, "12": 0.925}
    assert "size 12 gets hardly a word right" in str(unlearned(_sizes(rates)))
    assert unlearned(_sizes(rates | {"12": 0.45})) is None


def test_budgets_that_get_nothing_right_are_called_budgets() -> None:
    rates = {"macs=50%": 0.9, "macs=75%": 0.85, "macs=100%": 0.3}
    assert str(unlearned(_sizes(rates))).startswith("budgets macs=50%, macs=75% get hardly a word right")
    assert str(unlearned(_sizes({"macs=50%": 0.9}))).startswith("budget macs=50% gets hardly a word right")


def _sizes(rates: dict[str, float]) -> dict[str, Any]:
    return {"sizes": {size: {"test": {"wer": wer}} for size, wer in rates.items()}}


def test_texts_without_spaces_are_judged_by_characters() -> None:
    """In Chinese, hardly a "word" is right even if only 7% of the characters are wrong."""
    row = {"wer": 0.827, "cer": 0.07, "measure": "cer"}
    assert unlearned({"sizes": {"6": {"test": row}}}) is None
    assert "size 6 gets hardly a character right" in str(
        unlearned({"sizes": {"6": {"test": {**row, "cer": 0.9}}}})
    )


def test_the_curves_have_a_line_for_every_published_step(finished: tuple[Run, str]) -> None:
    scores, metrics = finished[0].scores(), finished[0].metrics("train")
    assert [line["step"] for line in scores] == [line["Step"] for line in metrics] == list(range(2, 25, 2))
    phases = ["score learning"] * 3 + ["smallest size"] * 7 + ["joint"] * 2
    assert [line["phase"] for line in scores] == phases
    assert all(len(line["scores"]) == 4 for line in scores)
    assert sum(scores[0]["gates"]) == pytest.approx(3, abs=1e-5)
    assert "ctc/2-gated" in metrics[0]
    assert "ctc/2" in metrics[-1]
    assert "ctc/2-gated" not in metrics[-1]
    assert [line["Step"] for line in finished[0].metrics("valid")] == [12, 24]


def test_the_resolved_configuration_is_saved(finished: tuple[Run, str]) -> None:
    data = yaml.safe_load(finished[0].config_file.read_text())
    assert data["task"]["path"] == str(finished[0].folder.parents[1] / "tones")
    assert data["sizes"] == [2, 4]
    assert data["model"]["dim"] == 16
    assert data["train"]["num_steps"] == 24


def test_nothing_private_is_in_the_folder(finished: tuple[Run, str], place: Path, tones: Path) -> None:
    for path in finished[0].folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for private in (SECRET, "jane-doe", str(place), str(Path.home()) + "/", str(tones)):
            assert private not in str(path.relative_to(place))
            if path == finished[0].config_file and private == str(place):
                continue  # the only places where the path of the corpus is written
            assert private.encode() not in content, f"{path} holds {private}"


def test_a_finished_run_prints_its_table_again(
    finished: tuple[Run, str],
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished[0].folder.rglob("*.safetensors")}
    results = finished[0].results_file.stat().st_mtime_ns
    main([*settings(), *LEARNING, "--out", "runs/finished"])
    rtf = finished[0].results()["sizes"]["4"]["rtf"]
    assert f"{rtf:.4f}" in capsys.readouterr().out, "a new measurement would differ"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert finished[0].results_file.stat().st_mtime_ns == results


@pytest.mark.parametrize("now", ["as it was", "changed"])
def test_a_run_older_than_a_setting_resumes_with_its_default(
    now: str,
    finished: tuple[Run, str],
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(finished[0].folder, here / "runs" / now)
    data = finished[0].config_data()
    del data["passes"]["layer_drop"], data["task"]["max_skipped"]
    (here / "runs" / now / "config.yaml").write_text(yaml.safe_dump(data))
    options = [*settings(), *LEARNING, "--out", f"runs/{now}"]
    if now == "as it was":
        main(options)
        assert Run(here / "runs" / now).config_data() == finished[0].config_data()
    else:
        with pytest.raises(SystemExit, match="2"):
            main([*options, "--set", "passes.layer_drop=0.3"])
        assert "passes.layer_drop was 0.1, is 0.3" in capsys.readouterr().err


def test_a_run_with_changed_settings_is_an_error_that_names_them(
    finished: tuple[Run, str],
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = finished[0].config_file.read_text()
    with pytest.raises(SystemExit) as end:
        main([*settings(lr=1), *LEARNING, "--seed", "7", "--out", "runs/finished"])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "seed was 0, is 7" in line
    assert "train.lr was 0.004, is 1.0" in line
    assert finished[0].config_file.read_text() == before


def test_the_saved_configuration_repeats_the_run(finished: tuple[Run, str], place: Path) -> None:
    run("supernet.train", "--config", "runs/finished/config.yaml", "--out", "runs/again", cwd=place)
    again = Run(place / "runs" / "again")
    assert digest(again.folder / "model.safetensors") == digest(finished[0].folder / "model.safetensors")
    assert again.config_data() == finished[0].config_data()


def test_iterative_zero_out_closes_units(zeroed: tuple[Run, str]) -> None:
    lines = zeroed[0].scores()
    assert [line["phase"] for line in lines] == ["zero-out"] * 6 + ["smallest size"] * 4 + ["joint"] * 2
    # Two updates, each a third of 15, have been made; units are closed when the next iteration begins.
    assert all(0 <= score < 10 for score in lines[0]["scores"])
    assert lines[2]["scores"] != lines[3]["scores"]
    assert sum(s < 0 for s in lines[5]["scores"]) >= 1
    assert [line["scores"] for line in lines[6:]] == [lines[5]["scores"]] * 6
    assert {size: subnet.size for size, subnet in zeroed[0].subnets().items()} == {"2": 2, "4": 4}


def test_individual_training_has_one_run_per_size(place: Path) -> None:
    out, _ = run(
        "supernet.train",
        *settings("1,2", num_steps=4),
        "--method",
        "individual",
        "--out",
        "runs/alone",
        cwd=place,
    )
    runs = {size: Run(place / "runs" / "alone" / str(size)) for size in (1, 2)}
    for size, single in runs.items():
        assert list(single.results()["sizes"]) == [str(size)]
        tensors = load_file(single.folder / "model.safetensors")
        layers = {name.split(".")[2] for name in tensors if name.startswith("encoder.layers.")}
        assert layers == {str(i) for i in range(size)}
    rows = [line.split("│")[1].strip() for line in out.splitlines() if line.startswith("│")]
    assert [row for row in rows if row.isdigit()] == ["1", "2"], "one table must contain both"


def test_two_processes_train_one_model_with_the_same_plans(place: Path) -> None:
    train_options = [
        *settings(num_steps=8),
        *LEARNING,
        "--set",
        "task.batch_seconds=4",
        "--out",
        "runs/ranks",
    ]
    run_ranks(["tests.supernet.spy", *train_options], place, {"PLANS": str(place)})
    ranks: list[dict[str, list[Any]]] = [
        json.loads((place / f"plans-{rank}.json").read_text()) for rank in (0, 1)
    ]
    assert ranks[0]["plans"] == ranks[1]["plans"]
    assert len(ranks[0]["plans"]) >= 8
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert not set(ranks[0]["utterances"][:1]) & set(ranks[1]["utterances"][:1]), (
        "each has its own share of the data"
    )
    results = Run(place / "runs" / "ranks").results()
    assert {size: row["test"]["utterances"] for size, row in results["sizes"].items()} == {"2": 8, "4": 8}
    assert [line["Step"] for line in Run(place / "runs" / "ranks").metrics("train")] == [2, 4, 6, 8]


def test_skipped_updates_are_reported_with_the_reason() -> None:
    assert left_out({"skipped_updates": 0, "steps": 3000}) is None
    assert left_out({"steps": 3000}) is None
    said = left_out({"skipped_updates": 7, "steps": 3000})
    assert said is not None
    assert "7 of 3,000 updates were skipped because their gradients were not finite" in said
    assert "`train.lr`" in said
