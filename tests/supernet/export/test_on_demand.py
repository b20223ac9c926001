"""One graph for every subnet, chosen per call, computes what the cut models compute."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from supernet.export import __main__ as command
from supernet.export.acceptance import BATCHES, noise
from supernet.export.bundle import SizesNotAccepted, export_bundle
from supernet.export.eager import Eager
from supernet.export.export import Examiner
from supernet.export.formats import Runtime, Written
from supernet.export.on_demand import OnDemand
from supernet.export.onnx_graph import Session
from supernet.export.pruning import KEPT
from supernet.network.cutting import cut as cut_out
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.cut_model import Cut
from supernet.runs.model_file import Model, load
from supernet.runs.opening import own_selection
from supernet.runs.run import Run
from supernet.runtime.precision import ROUNDED, Precision
from supernet.text.tokens import BLANK, Tokens
from supernet.units import Kept
from tests.supernet.complaining import complaint
from tests.supernet.tiny import recognizer, tiny_config

onnx = pytest.importorskip("onnx", reason="needs the export extra")
pytestmark = pytest.mark.slow

TOKENS = Tokens((BLANK, " ", "a", "b", "c", "d"))


def on_demand(bundled: Run) -> Path:
    return bundled.export_folder("on-demand")


def subnets(num_units: int, count: int = 8) -> list[Kept]:
    """Random subnets, the full one, and the first and the last unit alone."""
    rng = np.random.default_rng(0)
    drawn = [tuple(bool(k) for k in rng.random(num_units) < rng.random()) for _ in range(count)]
    alone = [tuple(i == unit for i in range(num_units)) for unit in (0, num_units - 1)]
    return [*(kept for kept in drawn if any(kept)), *alone, (True,) * num_units]


def largest_difference(file: Path, net: SupernetCTC, kept: Kept) -> float:
    """From the cut model, whose graph has these units only."""
    session, small = Session(file, {KEPT: torch.tensor(kept)}), cut_out(net, net.table.subnet(kept))
    found = []
    for lengths in BATCHES:
        actual, counts = session(noise(lengths), lengths)
        with torch.inference_mode():
            expected = small.log_probs(noise(lengths), lengths, small.table.full)
        found += [float((actual[i, :n] - expected[i, :n]).abs().max()) for i, n in enumerate(counts)]
    return max(found)


def test_every_subnet_computes_the_same_as_its_cut_model(bundled: Run) -> None:
    net = load(bundled.model_stem).recognizer
    for kept in subnets(len(net.table)):
        assert largest_difference(on_demand(bundled) / "model.onnx", net, kept) < 1e-4
        for precision in ROUNDED:
            assert 1e-4 < largest_difference(on_demand(bundled) / f"model.{precision}.onnx", net, kept) < 10


def written(net: SupernetCTC, folder: Path) -> Path:
    subnet = net.table.subnet(net.table.full)
    full = Cut(Model(cut_out(net, subnet), TOKENS), subnet, {"budget": str(subnet.size)})
    ((found,),) = OnDemand(Model(net, TOKENS), [full]).write(folder)
    return found.file


@pytest.fixture(scope="module")
def by_module(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SupernetCTC]:
    """A graph whose units are modules, with a head per size, and its network."""
    net = recognizer(tiny_config("module", model={"heads": "per-size"})).float()
    return written(net, tmp_path_factory.mktemp("by-module")), net


def test_units_may_be_modules_and_each_size_has_its_head(by_module: tuple[Path, SupernetCTC]) -> None:
    file, net = by_module
    assert len(net.heads) == 2
    for kept in subnets(len(net.table)):
        assert largest_difference(file, net, kept) < 1e-4


def test_units_may_be_parts_of_modules(tmp_path: Path) -> None:
    net = recognizer(tiny_config("component", model={"num_layers": 1})).float()
    file = written(net, tmp_path)
    for kept in subnets(len(net.table), count=5):
        assert largest_difference(file, net, kept) < 1e-4
    conditions = [node for node in onnx.load(file).graph.node if node.op_type == "If"]
    assert len(conditions) == len(net.table.groups) == 4


def test_each_unit_is_in_a_branch_with_its_weights(by_module: tuple[Path, SupernetCTC]) -> None:
    """So that what is not kept is not computed."""
    file, net = by_module
    graph = onnx.load(file).graph
    conditions = [node for node in graph.node if node.op_type == "If"]
    assert len(conditions) == len(net.table)
    outside = {node.op_type for node in graph.node}
    assert "Softmax" not in outside, "attention is in branches only"
    for node in conditions:
        branches = {attribute.name: attribute.g for attribute in node.attribute}
        assert [inner.op_type for inner in branches["else_branch"].node] == ["Identity"]
        assert len(branches["then_branch"].initializer) > 0
    names = [tensor.name for tensor in graph.initializer]
    assert [name for name in names if "encoder.layers" in name and "layers.0.layer_norm" in name] != []
    assert [name for name in names if ".ffn1." in name] == []


def test_verified_sizes_travel_with_costs_and_error_rates(finished: tuple[Run, str], tmp_path: Path) -> None:
    run, _ = finished
    out = tmp_path / "exported"
    command.main([str(run.folder), "--on-demand", "--out", str(out)])
    assert {path.name for path in out.iterdir()} == {"README.md", "model.onnx", "tokens.txt", "export.json"}
    proto = onnx.load(out / "model.onnx")
    said = {entry.key: entry.value for entry in proto.metadata_props}
    table, results = load(run.model_stem).recognizer.table, run.results()["sizes"]
    assert said["units"].split() == [unit.name for unit in table.units]
    sizes = json.loads(said["sizes"])
    assert [size["budget"] for size in sizes] == list(results)
    for size in sizes:
        expected = results[size["budget"]]
        assert size["rate"] == expected["test"][size["measure"]]
        assert {name: size[name] for name in ("kept", "macs", "params")} == {
            name: expected[name] for name in ("kept", "macs", "params")
        }
    record = json.loads((out / "export.json").read_text())
    assert (record["format"], record["compared_on_test"]) == ("on-demand", True)
    assert b".py" not in (out / "model.onnx").read_bytes()
    kept = next(value for value in proto.graph.input if value.name == KEPT)
    assert [dim.dim_value for dim in kept.type.tensor_type.shape.dim] == [len(table)]


@pytest.mark.parametrize("length", [3, 5])
def test_another_number_of_units_is_refused_by_the_graph(length: int, bundled: Run) -> None:
    session = Session(on_demand(bundled) / "model.onnx", {KEPT: torch.ones(length, dtype=torch.bool)})
    with pytest.raises(Exception, match=f"Got: {length} Expected: 4"):
        session(noise([30]), [30])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "2"], "`--on-demand` must be given without `--size`"),
        (["--shared"], "not allowed with argument --on-demand"),
        (["--format", "executorch"], "`--on-demand` must go with `--format` sherpa-onnx"),
    ],
)
def test_wrong_arguments_get_one_clear_line(
    arguments: Sequence[str], words: str, bundled: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        words in complaint(command.main, [bundled.folder, "--on-demand", *arguments], capsys).splitlines()[-1]
    )


class Other(OnDemand):
    """Writes a graph of its own, and opens it as a size of another network."""

    def write(self, folder: Path, rounded: Collection[Precision] = ()) -> list[list[Written]]:
        (folder / "model.onnx").touch()
        return [[Written(folder / "model.onnx")] for _ in self.cuts]

    def open(self, file: Path, cut: Cut) -> Runtime:
        other = load(Path(cut.provenance["weights"])).recognizer
        head = other.heads["shared"]
        assert isinstance(head, torch.nn.Linear)
        with torch.no_grad():
            head.bias[0] += 1e-3 * (cut.subnet.size - 2)
        return Eager(cut_out(other, cut.subnet))


def test_sizes_that_do_not_pass_are_named_and_nothing_is_written(bundled: Run, tmp_path: Path) -> None:
    model, origin = load(bundled.model_stem), {"weights": str(bundled.model_stem)}
    cuts = [Cut.of(model, choice, origin) for choice in own_selection(bundled).choices]
    examiner = Examiner(None, 0.0, lambda what, done, total: None)
    with pytest.raises(SizesNotAccepted) as refused:
        export_bundle(Other(model, cuts), tmp_path / "exported", [], examiner)
    assert [problem[:26] for problem in refused.value.problems] == [
        "3: `model.onnx` must equal",
        "4: `model.onnx` must equal",
    ]
    assert list(tmp_path.iterdir()) == []
