"""Model cards of cuts and exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from supernet.cut import main as cut
from supernet.evaluate import main as evaluate
from supernet.export.__main__ import main as export
from supernet.runs.background import background_of, license_of
from supernet.runs.run import Run
from tests.supernet.pretrained.folders import VARIANTS, write

KEPT = ["layers.0", "layers.3"]


def card_in(folder: Path) -> Any:
    return ModelCard.load(folder / "README.md")


def test_the_card_of_a_cut_has_the_results_of_its_size(finished: tuple[Run, str], tmp_path: Path) -> None:
    run = finished[0]
    cut([str(run.folder), "--size", "2", "--out", str(tmp_path / "small")])
    card, known = card_in(tmp_path / "small"), run.results()["sizes"]["2"]
    assert [(x.metric_type, x.metric_value) for x in card.data.eval_results] == [
        (measure, round(100 * known["test"][measure], 2)) for measure in ("wer", "cer")
    ]
    for result, measure in zip(card.data.eval_results, ("wer", "cer"), strict=True):
        bounds = [round(100 * bound, 2) for bound in known["test"][f"{measure}_ci95"]]
        assert result.metric_args == {"confidence_interval_95": bounds}
        assert (result.dataset_name, result.dataset_split) == ("tones (manifest)", "test")
    assert card.data.license == "unknown"
    assert card.data.pipeline_tag == "automatic-speech-recognition"
    (row,) = [line for line in card.text.splitlines() if line.startswith("| 2 |")]
    assert f"| {known['params'] / 1e6:.2f} M | {known['macs'] / 1e9:.2f} G |" in row
    assert f"| {known['rtf']:.4f}" in row
    assert "model.safetensors" in row
    assert "24 updates" in card.text
    # Of absolute paths only names are public.
    assert f"supernet.cut {run.name} --size 2 --out small" in card.text
    assert str(tmp_path) not in card.text


def test_a_merged_cut_was_never_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("mine"), VARIANTS["wav2vec2-base"])
    Path("two.json").write_text(json.dumps({"format": 1, "granularity": "layer", "kept": KEPT}))
    cut(["mine", "--selection", "two.json", "--merge", "--out", "merged"])
    card = card_in(Path("merged"))
    assert card.data.eval_results is None
    assert "not measured" in card.text


LICENSES = [
    ("---\nlicense: mit\n---\n# Mine\n", "mit"),
    ("---\nlicense: other\nlicense_name: my-own\n---\n", "my-own"),
    ("---\nlanguage: en\n---\n", None),
    ("# Mine\n\nlicense: mit\n", None),
    ("---\n: [\n---\n", None),
    (None, None),
]


@pytest.mark.parametrize(("text", "license"), LICENSES)
def test_the_license_of_a_checkpoint_is_that_of_its_card(
    text: str | None, license: str | None, tmp_path: Path
) -> None:
    write(tmp_path, VARIANTS["wav2vec2-base"])
    if text is not None:
        (tmp_path / "README.md").write_text(text)
    assert license_of(tmp_path) == license


def test_a_checkpoint_takes_its_license_through_a_run_a_cut_and_an_export(here: Path, tmp_path: Path) -> None:
    mine, run = tmp_path / "licensed", here / "runs" / "licensed-tones"
    write(mine, VARIANTS["wav2vec2-large"])
    (mine / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    kept = {"format": 1, "granularity": "layer", "kept": KEPT}
    (tmp_path / "two.json").write_text(json.dumps(kept))
    evaluate([str(mine), "--task", "tones", "--selection", str(tmp_path / "two.json"), "--split", "test"])
    (mine / "README.md").unlink()
    assert background_of(run).origin == "licensed"
    cut([str(run), "--selection", str(tmp_path / "two.json"), "--out", str(tmp_path / "small")])
    card = card_in(tmp_path / "small")
    assert card.data.license == "cc-by-nc-4.0"
    scored = {x.metric_type: x.metric_value for x in card.data.eval_results}
    assert set(scored) == {"wer", "cer"}  # from the transcripts of the evaluation
    assert license_of(tmp_path / "small") == "cc-by-nc-4.0"
    words = ["--selection", str(tmp_path / "two.json"), "--format", "huggingface"]
    export([str(run), *words, "--out", str(tmp_path / "exported")])
    card = card_in(tmp_path / "exported")
    assert (card.data.license, card.data.library_name) == ("cc-by-nc-4.0", "transformers")
    assert {x.metric_type: x.metric_value for x in card.data.eval_results} == scored
    assert 'pipeline("automatic-speech-recognition"' in card.text


def test_the_card_of_an_export_has_the_error_rate_of_rounded_weights(
    finished: tuple[Run, str], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="needs the export extra")
    words = ["--size", "2", "--int8", "--int8-margin", "100", "--out", str(tmp_path / "out")]
    export([str(finished[0].folder), *words])
    card, record = card_in(tmp_path / "out"), json.loads((tmp_path / "out" / "export.json").read_text())
    (rounded,) = [x for x in card.data.eval_results if x.metric_name.endswith("model.int8.onnx")]
    assert rounded.metric_value == round(100 * record["files"][1]["rate"], 2)
    assert "sherpa_onnx.OfflineRecognizer.from_zipformer_ctc(model='model.onnx'" in card.text
    for file in record["files"]:
        assert f"{file['file']}, {file['num_bytes'] / 1e6:.1f} MB" in card.text
