"""Subnets and unit tables: names, conversions, and errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernet.units import LayerType, Subnet
from tests.supernet.tiny import units_of

MODULES = units_of(3, "module", "conformer")


@pytest.mark.parametrize(
    ("granularity", "layer_type", "names"),
    [
        ("layer", "conformer", ["layers.0", "layers.1"]),
        ("layer", "transformer", ["layers.0", "layers.1"]),
        (
            "module",
            "transformer",
            ["layers.0.self_attn", "layers.0.ffn", "layers.1.self_attn", "layers.1.ffn"],
        ),
        (
            "module",
            "conformer",
            [f"layers.{i}.{m}" for i in (0, 1) for m in ("ffn1", "self_attn", "conv", "ffn2")],
        ),
    ],
)
def test_units_are_in_the_order_in_which_they_run(
    granularity: str, layer_type: LayerType, names: list[str]
) -> None:
    table = units_of(2, granularity, layer_type)
    assert [unit.name for unit in table.units] == names
    assert [unit.layer for unit in table.units] == [int(name.split(".")[1]) for name in names]
    assert [table.position[name] for name in names] == list(range(len(names)))


@given(st.lists(st.booleans(), min_size=12, max_size=12))
def test_masks_and_subnets_are_equivalent(mask: list[bool]) -> None:
    subnet = MODULES.subnet(mask)
    assert MODULES.kept(subnet) == tuple(mask)
    assert subnet.size == sum(mask)
    assert len(MODULES.restricted(subnet)) == sum(mask)
    assert MODULES.restricted(subnet).subnet([True] * sum(mask)) == subnet


def test_a_saved_subnet_is_loaded_unchanged(tmp_path: Path) -> None:
    subnet = MODULES.subnet([i % 3 == 0 for i in range(12)])
    subnet.save(tmp_path / "4.json")
    assert Subnet.load(tmp_path / "4.json") == subnet


@given(st.lists(st.floats(-3, 3), min_size=12, max_size=12), st.integers(0, 12))
def test_top_keeps_the_highest_scores(scores: list[float], size: int) -> None:
    kept = MODULES.top(scores, size)
    assert sum(kept) == size
    inside = [s for s, keep in zip(scores, kept, strict=True) if keep]
    outside = [s for s, keep in zip(scores, kept, strict=True) if not keep]
    assert min(inside, default=9) >= max(outside, default=-9)


def test_equal_scores_keep_the_earlier_units() -> None:
    assert units_of(4, "layer", "conformer").top([1, 2, 1, 1], 3) == (True, True, True, False)


def test_first_is_a_prefix() -> None:
    assert MODULES.first(2) == (True, True, *[False] * 10)
    assert MODULES.full == (True,) * 12


def test_an_unknown_granularity_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"`granularity` must be one of .* but is 'head' instead"):
        units_of(2, "head")


def test_a_subnet_of_another_granularity_is_an_error() -> None:
    with pytest.raises(ValueError, match="must have the granularity 'module'"):
        MODULES.kept(Subnet("layer", ("layers.0",)))


def test_a_subnet_of_a_deeper_network_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'layers\.0\.ffn1' to 'layers\.2\.ffn2'.*keeps 'layers\.7\.conv'"):
        MODULES.kept(Subnet("module", ("layers.0.ffn1", "layers.7.conv")))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"kept": []}', '{"granularity": "head", "kept": []}',
                                  '{"granularity": "layer", "kept": 3}'])  # fmt: skip
def test_a_file_that_is_not_a_subnet_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"x\.json' must"):
        Subnet.load(tmp_path / "x.json")
