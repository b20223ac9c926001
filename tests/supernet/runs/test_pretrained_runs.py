"""Training from a pretrained encoder, from the command line to the uses of the run."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from supernet import Recognizer, cut, evaluate
from supernet.export.__main__ import main as export_main
from supernet.runs.run import Run
from tests.supernet import encoders
from tests.supernet.processes import run, stop_at
from tests.tasks.folders import tone

pytestmark = pytest.mark.slow

FROZEN, STEPS = 4, 8
FIRST = ("frontend.", "encoder.layers.0.", "encoder.layers.1.")
TRAIN = {"num_steps": STEPS, "publish_every": 2, "checkpoint_every": 2, "validate_every": 4, "num_threads": 1}


@pytest.fixture(scope="module")
def here(place: Path) -> Path:
    """The folder with the corpus of tones and an encoder."""
    encoders.write(place / "encoder", "base")
    return place


def command(out: str) -> list[str]:
    settings = {"model.init": "encoder", "model.freeze_frontend_steps": FROZEN, "task.batch_seconds": 4}
    settings |= {"model.freeze_layers": 2, "model.freeze_layers_steps": FROZEN}
    settings |= {"method.score_learning": 0.25, **{f"train.{name}": value for name, value in TRAIN.items()}}
    options = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    start = ["supernet.train", "--task", "tones", "--sizes", "2,4", "--device", "cpu"]
    return [*start, *options, "--out", f"runs/{out}"]


@pytest.fixture(scope="module")
def finished_run(here: Path) -> tuple[Run, str]:
    """A finished run, of which only the last two checkpoints remain, and its output."""
    printed, complaints = run(*command("pretrained"), cwd=here)
    return Run(here / "runs" / "pretrained"), printed + complaints


def frozen(run: Run, step: int) -> dict[str, Tensor]:
    """The weights of the frontend and of the first layers at a checkpoint, by their names in fairseq2."""
    file = run.folder / "checkpoints" / f"step_{step}/model/pp_00/tp_00/sdp_00.pt"
    weights: dict[str, Any] = torch.load(file, weights_only=True)
    return {
        name.replace("frontend.body.", "encoder_frontend."): tensor
        for name, tensor in weights.items()
        if name.startswith(FIRST)
    }


def test_the_run_ends_with_its_results_and_without_warnings(finished_run: tuple[Run, str]) -> None:
    run_, printed = finished_run
    assert "Warning" not in printed
    results = run_.results()["sizes"]
    assert results["2"]["params"] < results["4"]["params"]
    assert 0 < results["2"]["macs"] < results["4"]["macs"]


def test_a_run_stopped_while_weights_are_frozen_resumes_bit_by_bit(
    finished_run: tuple[Run, str], here: Path
) -> None:
    """While frozen, frontend and first layers are those of the pretrained encoder bit by bit; then they are
    trained.
    """
    whole, again = finished_run[0], Run(here / "runs" / "stopped")
    stop_at(FROZEN, command("stopped"), again.folder, here, signal.SIGKILL)
    theirs, kept = encoders.model("base")[0].state_dict(), frozen(again, FROZEN)
    assert set(kept) == {name for name in theirs if name.startswith(("encoder_frontend.", *FIRST[1:]))}
    for name, tensor in ((name, theirs[name]) for name in kept):
        assert torch.equal(kept[name], tensor), name

    run(*command("stopped"), cwd=here)
    ours, expected = frozen(again, STEPS), frozen(whole, STEPS)
    for name, tensor in expected.items():
        assert torch.equal(ours[name], tensor), name
        assert not torch.equal(tensor, theirs[name]), f"{name} must have been trained"
    assert again.model_stem.with_suffix(".safetensors").read_bytes() == (
        whole.model_stem.with_suffix(".safetensors").read_bytes()
    )


def test_after_training_the_pretrained_encoder_is_not_needed(
    finished_run: tuple[Run, str],
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_ = finished_run[0]
    monkeypatch.chdir(here)
    aside = (here / "encoder").rename(tmp_path / "aside")
    try:
        evaluate.main(["runs/pretrained", "--sizes", "2", "--split", "valid"])
        cut.main(["runs/pretrained", "--size", "2", "--out", str(tmp_path / "small")])
    finally:
        aside.rename(here / "encoder")
    assert "valid" in capsys.readouterr().out

    sounds = [torch.from_numpy(tone(seconds, 300)) for seconds in (0.01, 0.9, 25.0)]
    whole, small = Recognizer.load(run_.folder).use(2), Recognizer.load(tmp_path / "small")
    found = whole.transcribe(sounds, 16_000, batch=3)
    assert found == small.transcribe(sounds, 16_000, batch=1)
    assert [round(x.seconds, 2) for x in found] == [0.01, 0.9, 25.0]
    for heard in (token for x in found for token in x.tokens):
        assert round(heard.start / 0.02, 6) == round(heard.start / 0.02)


def test_a_size_is_exported_and_compared_with_the_run(finished_run: tuple[Run, str], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the export extra")
    out = ["--out", str(tmp_path / "exported")]
    export_main([str(finished_run[0].folder), "--size", "2", "--unchecked", "--format", "onnx", *out])
    (check,) = json.loads((tmp_path / "exported" / "export.json").read_text())["files"]
    assert check["difference"] < 1e-5


def test_exporting_to_other_formats_is_a_clear_error(
    finished_run: tuple[Run, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        export_main([str(finished_run[0].folder), "--size", "2", "--unchecked"])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "`--format` sherpa-onnx must have a network that normalizes its samples" in line
