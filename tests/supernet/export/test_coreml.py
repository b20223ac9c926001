"""Core ML packages compute what the cut models compute: by their operations, where Core ML does not run."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from supernet.audio.specification import FRAMES_PER_SECOND
from supernet.export.acceptance import TOLERANCE, noise
from supernet.export.coreml import PACKAGE, CoreML, SharedCoreML
from supernet.export.eager import Eager
from supernet.export.formats import num_bytes
from supernet.export.ml_program import OPERATIONS, WEIGHTS
from supernet.export.one_utterance import name_of
from supernet.network.cutting import cut
from supernet.network.supernet_ctc import num_parameters
from supernet.runs.cut_model import Cut
from supernet.runs.model_file import Model
from tests.supernet.export.test_graph import TOKENS, largest_difference, small_cut
from tests.supernet.tiny import recognizer, tiny_config

needs_coremltools = pytest.mark.skipif(find_spec("coremltools") is None, reason="needs the coreml extra")


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cut, Path]:
    """A cut model of whole layers, and its package."""
    cut_ = small_cut()
    (written,) = CoreML().write(cut_, tmp_path_factory.mktemp("layers"))
    return cut_, written.file


@needs_coremltools
@pytest.mark.slow
def test_the_package_equals_the_cut_model(layers: tuple[Cut, Path]) -> None:
    cut_, package = layers
    assert largest_difference(cut_, CoreML().open(package)) < 1e-5
    longest = [10 * FRAMES_PER_SECOND]  # as long as this network allows
    actual, _ = CoreML().open(package)(noise(longest), longest)
    expected, _ = Eager(cut_.model.recognizer)(noise(longest), longest)
    torch.testing.assert_close(actual, expected[:, : actual.size(1)], atol=1e-5, rtol=0)
    assert num_bytes(package) > num_bytes(package / WEIGHTS) > 4 * num_parameters(cut_.model.recognizer)


@needs_coremltools
@pytest.mark.slow
@pytest.mark.parametrize(("granularity", "positions"), [("module", "sinusoidal"), ("component", "relative")])
def test_packages_of_parts_of_layers_equal_the_cut_model(
    granularity: str, positions: str, tmp_path: Path
) -> None:
    cut_ = small_cut(granularity, positions=positions)
    (written,) = CoreML().write(cut_, tmp_path)
    assert largest_difference(cut_, CoreML().open(written.file)) < 1e-5


@needs_coremltools
@pytest.mark.slow
def test_functions_of_a_package_equal_their_cut_models_and_share_weights(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    net = recognizer(tiny_config(model={"dim": 64, "ffn_dim": 512, "num_layers": 2})).float()
    subnets = [net.table.subnet(net.table.first(size)) for size in (1, 2)]
    cuts = [Cut(Model(cut(net, s), TOKENS), s, {"budget": f"units={s.size}"}) for s in subnets]
    bundle = SharedCoreML(Model(net, TOKENS), cuts)
    assert [file.file for (file,) in bundle.write(tmp_path)] == [tmp_path / PACKAGE] * 2
    assert capfd.readouterr() == ("", ""), "coremltools shows no bars and gives no advice"
    assert [name_of(cut_) for cut_ in cuts] == ["size_units_1", "size_units_2"]
    assert num_bytes(tmp_path / PACKAGE / WEIGHTS) < 1.1 * 4 * num_parameters(cuts[1].model.recognizer)
    bundle.describe([tmp_path / PACKAGE], [{"budget": "units=1"}])
    for cut_ in cuts:
        assert largest_difference(cut_, bundle.open(tmp_path / PACKAGE, cut_)) < 1e-5
    import coremltools

    (facts,) = json.loads(_description(coremltools, tmp_path / PACKAGE).metadata.userDefined["sizes"])
    assert facts == {"budget": "units=1"}
    assert _description(coremltools, tmp_path / PACKAGE).defaultFunctionName == "size_units_2"


def _description(coremltools: Any, package: Path) -> Any:
    return coremltools.utils.load_spec(str(package)).description


@needs_coremltools
@pytest.mark.slow
def test_a_package_with_a_wrong_weight_differs(layers: tuple[Cut, Path], tmp_path: Path) -> None:
    cut_, package = layers
    shutil.copytree(package, tmp_path / PACKAGE)
    (weights,) = (tmp_path / PACKAGE / WEIGHTS).iterdir()
    wanted = cut_.model.recognizer.frontend.get_parameter("projection.weight").detach().numpy()
    content = weights.read_bytes()
    assert content.count(wanted.tobytes()) == 1
    weights.write_bytes(content.replace(wanted.tobytes(), (wanted * np.float32(1.01)).tobytes()))
    assert largest_difference(cut_, CoreML().open(tmp_path / PACKAGE)) > TOLERANCE


def test_operations_are_those_of_the_reference_of_ml_programs() -> None:
    x_BTD = torch.arange(24.0).reshape(1, 4, 6)
    n = torch.tensor
    padded = OPERATIONS["pad"](x=x_BTD, pad=n([1, 0, 0, 2]), mode="constant", constant_val=n(7.0))
    assert padded.shape == (1, 5, 8)
    assert padded[0, 0].tolist() == [7.0] * 8, "the first pair is of the last axis but one"
    assert padded[0, :, 6:].unique().tolist() == [7.0]
    found = OPERATIONS["slice_by_index"](
        x=x_BTD,
        begin=n([0, -3, 1]),
        end=n([0, 0, 5]),
        stride=n([1, 1, 2]),
        end_mask=n([True, True, False]),
        squeeze_mask=n([True, False, False]),
    )
    assert torch.equal(found, x_BTD[0, 1:, 1:5:2])
    taken = OPERATIONS["gather"](
        x=x_BTD, indices=n([[2, -1]]), axis=n(1), batch_dims=n(0), validate_indices=n(False)
    )
    assert torch.equal(taken, x_BTD[:, [[2, 3]]])
    weight = torch.randn(4, 1, 3)
    options = {"strides": n([2]), "dilations": n([1]), "groups": n(4)}
    convolved = OPERATIONS["conv"](x=x_BTD, weight=weight, pad_type="custom", pad=n([2, 1]), **options)
    assert torch.equal(convolved, F.conv1d(F.pad(x_BTD, (2, 1)), weight, stride=2, groups=4))
    one, two = OPERATIONS["split"](x=x_BTD, axis=n(-1), num_splits=n(2))
    assert torch.equal(torch.cat([one, two], -1), x_BTD)
    assert OPERATIONS["floor_div"](x=n(-7), y=n(2)).item() == -4
    assert OPERATIONS["real_div"](x=n([7.0]), y=n([2.0])).item() == 3.5
    total = OPERATIONS["reduce_sum"](x=x_BTD, axes=n([-1]), keep_dims=n(False))
    assert torch.equal(total, x_BTD.sum(-1))
