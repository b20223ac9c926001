"""``--dry-run`` describes a planned training and writes no files."""

from __future__ import annotations

from pathlib import Path

import pytest

from supernet.network.cutting import cut
from supernet.network.model_costs import macs
from supernet.network.supernet_ctc import num_parameters
from supernet.runs.model_file import load
from supernet.runs.run import Run
from supernet.train import main
from tests.supernet.imports import LISTED, imported
from tests.supernet.processes import run, settings


def rows(printed: str) -> dict[str, str]:
    """The second column of the table, by the first one."""
    cells = [line.strip("│ ").split("│") for line in printed.splitlines() if line.startswith("│")]
    return {first.strip(): second.strip() for first, second in cells}


def dry(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    main([*settings(), "--dry-run", *arguments])
    return rows(capsys.readouterr().out)


def test_a_dry_run_on_a_prepared_corpus(
    finished: tuple[Run, str],
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The sizes equal those of networks trained with the same settings."""
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    table = dry(capsys)
    run = finished[0]
    trained = load(run.model_stem)
    for size, subnet in run.subnets().items():
        net = cut(trained.recognizer, subnet)
        million, billion = num_parameters(net) / 1e6, macs(net) / 1e9
        assert table[f"size {size}"] == f"{million:.2f} M parameters, {billion:.2f} G MACs at 10 s"
    assert table["tokens"] == str(len(trained.tokens))
    assert table["updates"] == "24"
    # 24 batches of 8 s, from 24 utterances of 21.6 s in total
    assert table["epochs"] == "about 8.9 of 24 utterances, 0.01 h"
    assert table["measured on"].endswith("(cpu)")
    assert table["memory, estimated"].endswith(" GB of the process")
    assert table["time, estimated"].split()[1] in ("s", "min")
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


def test_several_processes_are_measured_together(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    table = dry(capsys, "--set", "train.processes=2")
    assert table["measured on"].endswith("(cpu, 2 processes)")
    assert table["memory, estimated"].endswith(" GB of all processes")
    assert table["time, estimated"].split()[1] in ("s", "min")


def test_an_estimate_imports_neither_the_engine_nor_a_compiler_nor_pictures(place: Path) -> None:
    out, err = run("supernet.train", *settings(), "--dry-run", cwd=place, extra=LISTED, fresh=True)
    assert "dry run" in out
    assert "torch" in imported(err)
    engine = {"fairseq2.composition", "fairseq2.recipe", "transformers", "wandb"}
    unneeded = engine | {"matplotlib", "optuna", "sympy", "torch._dynamo"}
    assert imported(err) & unneeded == set()


def test_nothing_is_prepared(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tones").symlink_to(tones)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUPERNET_CACHE", str(tmp_path / "cache"))
    table = dry(capsys, "--method", "individual")
    assert [path.name for path in tmp_path.iterdir()] == ["tones"]
    assert table["tokens"] == "unknown; 30 assumed"
    assert table["epochs"] == "unknown: the corpus is not prepared yet"
    assert table["updates"] == "24 for each of 2 networks"
    assert {"size 2", "size 4"} <= set(table)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sizes", "0"], "`sizes"),
        (["--task", "./gone"], "folder of manifests"),
        (["--task", "digits"], "path"),
    ],
)
def test_an_invalid_configuration_is_an_error_as_in_training(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["--dry-run", *arguments])
    assert end.value.code == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []
