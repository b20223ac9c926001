"""``python -m supernet.export`` on a finished run: the files it writes, accepts, rejects and keeps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from supernet.commands.export_source import FORMATS
from supernet.export import __main__ as command
from supernet.export.acceptance import BATCHES, noise
from supernet.export.eager import Eager, Torch
from supernet.export.formats import Format, Runtime, Written
from supernet.export.onnx import Onnx
from supernet.runs.cut_model import Cut
from supernet.runs.model_file import load
from supernet.runs.run import Run
from supernet.runs.selection_file import Choice, Selection
from supernet.runtime.precision import FULL, ROUNDED, Precision
from tests.supernet.complaining import complaint

pytestmark = pytest.mark.slow


@pytest.fixture
def mine(finished: tuple[Run, str], here: Path, tmp_path: Path) -> Run:
    """A copy of the finished run, for a test to change."""
    shutil.copytree(finished[0].folder, tmp_path / "run")
    return Run(tmp_path / "run")


class Rounding(Torch):
    """Exports with an error in one weight, declared as of some precision."""

    def __init__(self, by: float = 0.0, precision: Precision = FULL) -> None:
        self._by, self._precision = by, precision

    def write(self, cut: Cut, folder: Path, rounded: Collection[Precision] = ()) -> list[Written]:
        cut.save(folder)
        return [Written(folder / "model.safetensors", self._precision)]

    def open(self, file: Path) -> Runtime:
        recognizer = load(file.with_suffix("")).recognizer
        head = recognizer.heads["shared"]
        assert isinstance(head, torch.nn.Linear)
        head.bias.data[0] += self._by
        return Eager(recognizer)


class Babbling(Rounding):
    """Recognizes words in every frame, which is worse than any output of the network."""

    def open(self, file: Path) -> Runtime:
        runtime = super().open(file)

        def babble(features_BTF: Tensor, num_frames: Sequence[int]) -> tuple[Tensor, list[int]]:
            log_probs_BSV, lengths = runtime(features_BTF, num_frames)
            log_probs_BSV = log_probs_BSV.clone()
            log_probs_BSV[:, ::2, 1] = log_probs_BSV[:, 1::2, 2] = 1.0  # a space, a letter
            return log_probs_BSV, lengths

        return babble


def use(monkeypatch: pytest.MonkeyPatch, format: type[Format], **options: Any) -> None:
    """Let ``--format torch`` be a class made with ``options``."""
    made = {"__init__": lambda self: format.__init__(self, **options)}
    monkeypatch.setitem(FORMATS, "torch", type(format.__name__, (format,), made))


def record(folder: Path) -> Any:
    return json.loads((folder / "export.json").read_text())


def test_the_export_equals_the_subnet(exported: tuple[Run, str]) -> None:
    run, out = exported
    folder, subnet = run.export_folder("2"), run.subnets()["2"]
    names = {"README.md", "export.json", "model.int8.onnx", "model.onnx", "tokens.txt"}
    assert {path.name for path in folder.iterdir()} == names
    assert [path.name for path in run.exports.iterdir()] == ["2"], "no partial export may remain"
    whole, session = load(run.model_stem).recognizer, Onnx().open(folder / "model.onnx")
    for lengths in BATCHES:
        with torch.inference_mode():
            expected = whole.log_probs(noise(lengths), lengths, whole.table.kept(subnet))
        actual, counts = session(noise(lengths), lengths)
        for i, n in enumerate(counts):
            torch.testing.assert_close(actual[i, :n], expected[i, :n], atol=1e-4, rtol=0)
    found = record(folder)
    assert found["model"]["kept"] == list(subnet.kept)
    assert found["model"]["provenance"]["run"] == "exported"
    exact, rounded = found["files"]
    assert exact["rate"] == exact["cut_rate"] == run.results()["sizes"]["2"]["test"]["wer"]
    assert (exact["texts_that_differ"], rounded["exact"]) == (0, False)
    assert "model.int8.onnx" in out


def test_the_file_describes_itself_and_contains_no_local_paths(exported: tuple[Run, str]) -> None:
    import onnx

    file = exported[0].export_folder("2") / "model.onnx"
    proto = onnx.load(file)
    assert (proto.ir_version, proto.opset_import[0].version) == (8, 18)
    said = {entry.key: entry.value for entry in proto.metadata_props}
    assert (said["model_type"], said["subsampling_factor"], said["vocab_size"]) == (
        "zipformer2_ctc",
        "4",
        "5",
    )
    assert said["kept"].split() == list(exported[0].subnets()["2"].kept)
    assert str(Path(command.__file__).parents[2]).encode() not in file.read_bytes()
    assert b".py" not in file.read_bytes()
    assert [(v.name, v.type.tensor_type.elem_type) for v in (*proto.graph.input, *proto.graph.output)] == [
        ("x", onnx.TensorProto.FLOAT),
        ("x_lens", onnx.TensorProto.INT64),
        ("log_probs", onnx.TensorProto.FLOAT),
        ("log_probs_len", onnx.TensorProto.INT64),
    ]


def test_the_torch_format_equals_a_cut_model(mine: Run) -> None:
    from supernet import cut

    command.main([str(mine.folder), "--size", "2", "--format", "torch"])
    cut.main([str(mine.folder), "--size", "2", "--out", str(mine.folder / "cut")])
    for name in ("model.safetensors", "model.json", "tokens.txt"):
        ours, theirs = mine.export_folder("2") / name, mine.folder / "cut" / name
        assert ours.read_bytes() == theirs.read_bytes()


def test_a_selection_can_be_exported(mine: Run, tmp_path: Path) -> None:
    table = load(mine.model_stem).recognizer.table
    subnet = table.subnet([True, False, True, True])
    Selection("greedy", (Choice("params=75%", subnet),)).save(tmp_path / "mine.json")
    command.main([str(mine.folder), "--selection", str(tmp_path / "mine.json"), "--format", "torch"])
    small = load(mine.export_folder("greedy-params=75%") / "model").recognizer
    assert small.table.subnet(small.table.full) == subnet


def test_an_inaccurate_export_is_rejected(
    mine: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, Rounding, by=1e-3)
    error = complaint(command.main, [mine.folder, "--size", "4", "--format", "torch"], capsys, status=1)
    assert "must equal the cut model within 0.0001, but its log-probabilities differ by 0.00" in error
    assert not mine.export_folder("4").exists()
    assert list(mine.exports.iterdir()) == []
    use(monkeypatch, Rounding, by=float("nan"))
    assert "differ by inf" in complaint(command.main, [mine.folder, "--format", "torch"], capsys, status=1)


@pytest.mark.parametrize("precision", ROUNDED)
def test_a_rounded_export_must_have_about_the_same_error_rate(
    precision: Precision, mine: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(mine.folder), "--size", "4", "--format", "torch"]
    use(monkeypatch, Babbling, precision=precision)
    error = complaint(command.main, arguments, capsys, status=1)
    assert "must be within 0.5 points of the cut model's test WER" in error
    assert "points worse" in error
    assert not mine.export_folder("4").exists()
    command.main([*arguments, "--int8-margin", "10000"])
    (file,) = record(mine.export_folder("4"))["files"]
    assert (file["exact"], file["precision"]) == (False, precision)
    assert file["rate"] > file["cut_rate"]


def test_a_rejected_size_does_not_stop_the_others(
    mine: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class OneInaccurate(Rounding):
        def write(self, cut: Cut, folder: Path, rounded: Collection[Precision] = ()) -> list[Written]:
            self._by = 1.0 if cut.subnet.size == 2 else 0.0
            return super().write(cut, folder, rounded)

    use(monkeypatch, OneInaccurate)
    (line,) = complaint(
        command.main, [mine.folder, "--all", "--format", "torch"], capsys, status=1
    ).splitlines()
    assert line.startswith("error: 2: ")
    assert [path.name for path in mine.exports.iterdir()] == ["4"]


def test_an_existing_export_is_replaced_only_on_request_and_by_an_accepted_one(
    mine: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(mine.folder), "--size", "2", "--format", "torch"]
    command.main(arguments)
    marker = mine.export_folder("2") / "marker"
    marker.touch()
    error = complaint(command.main, arguments, capsys)
    assert "must not exist yet, but does. `--force` replaces it" in error
    use(monkeypatch, Rounding, by=1.0)
    complaint(command.main, [*arguments, "--force"], capsys, status=1)
    assert marker.exists()
    use(monkeypatch, Torch)
    command.main([*arguments, "--force"])
    assert not marker.exists()
    assert [path.name for path in mine.exports.iterdir()] == ["2"]


def test_without_the_test_split_only_unchecked_exports_are_possible(
    mine: Run, tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = mine.config_file.read_text()
    mine.config_file.write_text(text.replace(mine.config_data()["task"]["path"], "/gone/tones"))
    arguments = [str(mine.folder), "--format", "torch"]
    error = complaint(command.main, arguments, capsys)
    assert "the test split of" in error
    assert "must be available" in error
    assert "`--unchecked`" in error
    command.main([*arguments, "--unchecked"])
    assert record(mine.export_folder("2"))["compared_on_test"] is False
    assert "were not compared" in capsys.readouterr().out
    command.main([*arguments, "--force", "--set", f"task.path={tones}"])
    assert record(mine.export_folder("2"))["compared_on_test"] is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runs/nowhere"], "`RUN` must be a run folder"),
        (["runs/finished", "--size", "3"], "`--size` must be one of 2, 4"),
        (["runs/finished", "--all", "--size", "2"], "`--all` must be given without `--size`"),
        (["runs/finished", "--int8-margin", "-1"], "`--int8-margin` must be at least 0 points"),
        (["runs/finished", "--int8-margin", "nan"], "`--int8-margin` must be a number, but is 'nan'"),
        (["runs/finished", "--int8-margin", "inf"], "`--int8-margin` must be a number, but is 'inf'"),
        (["runs/finished", "--format", "torch", "--int8"], "`--int8` must go with `--format` sherpa-onnx"),
        (["runs/finished", "--format", "torch", "--int4"], "`--int4` must go with `--format` sherpa-onnx"),
        (
            ["runs/finished", "--max-seconds", "9"],
            "`--max-seconds` must go with `--format` executorch or coreml",
        ),
        (["runs/finished", "--max-seconds", "3"], "`--max-seconds` must be at least 4, but is 3"),
        (["runs/finished", "--out", "runs/finished/model.json"], "`--out` must be a folder"),
        (["runs/finished", "--out", "runs/finished"], "must not exist yet"),
    ],
)
def test_wrong_arguments_get_one_clear_line(
    finished: tuple[Run, str],
    here: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    (line,) = complaint(command.main, arguments, capsys).splitlines()
    assert words in line
    assert not finished[0].exports.exists()


def test_an_unknown_format_is_an_error_that_lists_the_others(
    finished: tuple[Run, str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = complaint(command.main, ["runs/finished", "--format", "tflite"], capsys)
    assert "'tflite'" in error
    assert all(name in error for name in ("sherpa-onnx", "torch", "executorch"))


def test_a_missing_extra_is_an_error_with_the_command_that_installs_it(
    finished: tuple[Run, str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Onnx, "packages", ("onnx_that_is_not_there",))
    (line,) = complaint(command.main, ["runs/finished"], capsys).splitlines()
    assert "onnx_that_is_not_there cannot be imported" in line
    assert line.endswith("pip install -e '.[export]'")


def test_a_missing_extra_and_an_impossible_precision_are_said_at_once(
    finished: tuple[Run, str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Torch, "packages", ("torch_that_is_not_there",))
    error = complaint(command.main, ["runs/finished", "--format", "torch", "--int8", "--int4"], capsys)
    int8, int4, missing = error.splitlines()
    assert int8 == "error: `--int8` must go with `--format` sherpa-onnx, but goes with torch instead."
    assert "`--int4` must go with" in int4
    assert "torch_that_is_not_there cannot be imported" in missing


def test_a_run_without_tokens_is_an_error(mine: Run, capsys: pytest.CaptureFixture[str]) -> None:
    path = mine.folder / "model.json"
    data = json.loads(path.read_text())
    del data["tokens"]
    path.write_text(json.dumps(data))
    (line,) = complaint(command.main, [mine.folder, "--format", "torch"], capsys).splitlines()
    assert "must be a model" in line
    assert "`tokens` must be given" in line


def test_ctrl_c_leaves_no_partial_export(mine: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(Torch):
        def open(self, file: Path) -> Runtime:
            def runtime(features_BTF: Tensor, num_frames: Sequence[int]) -> tuple[Tensor, list[int]]:
                raise KeyboardInterrupt

            return runtime

    use(monkeypatch, Interrupted)
    with pytest.raises(SystemExit, match="130"):
        command.main([str(mine.folder), "--format", "torch"])
    assert list(mine.exports.iterdir()) == []
