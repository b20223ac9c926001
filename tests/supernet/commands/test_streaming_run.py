"""A training with `model.streaming`: its sizes are scored, selected and exported for chunks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selection import __main__ as select
from supernet import evaluate
from supernet.export import __main__ as export
from supernet.runs.run import Run
from supernet.runs.selection_file import Selection
from tests.supernet.processes import LEARNING, run, settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(place: Path) -> Run:
    run(
        "supernet.train",
        *settings(),
        *LEARNING,
        "--set",
        "model.streaming=true",
        "--out",
        "runs/live",
        cwd=place,
    )
    return Run(place / "runs" / "live")


def test_sizes_are_scored_in_chunks(trained: Run, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate.main([str(trained.folder), "--chunk", "80ms", "--sizes", "2"])
    assert "live, chunks of 80ms, test" in " ".join(capsys.readouterr().out.split())
    assert (trained.folder / "transcripts" / "test-chunk-80ms-2.tsv").is_file()
    evaluate.main([str(trained.folder), "--chunk", "80ms+40ms", "--sizes", "2"])
    assert "live, chunks of 80ms+40ms, test" in " ".join(capsys.readouterr().out.split())
    assert (trained.folder / "transcripts" / "test-chunk-80ms+40ms-2.tsv").is_file()


def test_units_are_chosen_for_chunks(trained: Run, here: Path) -> None:
    words = [str(trained.folder), "--strategies", "greedy", "--sizes", "2"]
    select.main(words)
    whole = Selection.load(trained.selection_file("greedy"))
    select.main([*words, "--chunk", "80ms+40ms"])
    chosen = Selection.load(trained.selection_file("greedy-80ms+40ms"))
    assert (chosen.strategy, whole.strategy) == ("greedy-80ms+40ms", "greedy")
    assert chosen.network == whole.network
    losses = [selection.choice("2").loss for selection in (whole, chosen)]
    assert losses[0] != losses[1]
    assert Selection.load(trained.selection_file("greedy")) == whole
    evaluate.main(
        [
            str(trained.folder),
            "--chunk",
            "80ms",
            "--selection",
            str(trained.selection_file("greedy-80ms+40ms")),
        ]
    )


def test_a_size_is_exported_with_the_texts_of_its_chunks(trained: Run, here: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs the export extra")
    export.main([str(trained.folder), "--size", "2", "--chunk", "80ms+40ms", "--int8"])
    record = json.loads((trained.export_folder("2-streaming") / "export.json").read_text())
    assert record["compared_on_test"]
    assert [file["texts_that_differ"] for file in record["files"] if file["exact"]] == [0]


def test_chunks_of_a_network_without_streaming_are_one_line(
    finished: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for main in (evaluate.main, select.main):
        with pytest.raises(SystemExit) as end:
            main([str(finished[0].folder), "--chunk", "320ms"])
        err = capsys.readouterr().err
        assert (end.value.code, err.count("\n")) == (2, 1)
        assert "`--chunk` must be left out for a network that was trained without" in err
