"""Given masks and grown networks, against hand-computed masks and phases."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernet.budget import Budget, Prices
from supernet.config import Config
from supernet.errors import ConfigError
from supernet.methods.fixed import Fixed
from supernet.runs.resolve import resolve, resolve_trained
from supernet.runs.selection_file import Choice, Selection
from supernet.units import Kept, Subnet
from tests.supernet.tiny import context, tiny_config
from tests.supernet.training.test_methods import make, schedule

CONFIG = Config(sizes=(6, 9, 12))


def chosen(config: Config, **options: object) -> dict[str, Kept]:
    method = make("fixed", config, **options)
    found = context([0.0] * len(method.table), method.table)
    return {budget.name: method.choose(found, budget) for budget in method.budgets}


def units(kept: Kept) -> list[int]:
    return [i for i, keep in enumerate(kept) if keep]


@pytest.mark.parametrize(
    ("masks", "six", "nine"),
    [
        ("first-k", [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("last-k", [6, 7, 8, 9, 10, 11], [3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ("every-other", [0, 2, 4, 6, 8, 10], [0, 1, 2, 4, 5, 6, 8, 9, 10]),
    ],
)
def test_masks_by_rule(masks: str, six: list[int], nine: list[int]) -> None:
    found = chosen(CONFIG, masks=masks)
    assert {name: units(kept) for name, kept in found.items()} == {"6": six, "9": nine, "12": [*range(12)]}


def test_random_masks_depend_on_their_own_seed_only() -> None:
    found = [chosen(CONFIG, masks="random", mask_seed=seed)["6"] for seed in range(8)]
    assert len(set(found)) > 4
    other = CONFIG.model_copy(update={"seed": 7})
    assert [chosen(other, masks="random", mask_seed=seed)["6"] for seed in range(8)] == found


@given(
    st.sampled_from(["first-k", "last-k", "every-other", "random"]),
    st.sets(st.integers(1, 16), min_size=1, max_size=5),
    st.integers(0, 9),
)
def test_masks_have_their_sizes_and_contain_those_of_smaller_sizes(
    masks: str, sizes: set[int], seed: int
) -> None:
    found = chosen(tiny_config("module", sizes=tuple(sizes)), masks=masks, mask_seed=seed)
    assert [sum(kept) for kept in found.values()] == sorted(sizes)
    kept = [set(units(one)) for one in found.values()]
    assert all(a < b for a, b in itertools.pairwise(kept))


@given(st.lists(st.floats(0.1, 5), min_size=4, max_size=4), st.floats(0.4, 1))
def test_masks_fit_budgets_in_any_quantity(prices: list[float], share: float) -> None:
    config = tiny_config().model_copy(update={"sizes": (), "budgets": (f"macs={100 * share:.6f}%",)})
    costs = Prices("macs", 0.0, tuple(prices))
    for masks in ("first-k", "last-k", "every-other", "random"):
        method = Fixed(Fixed.Options(masks=masks), config, {"macs": costs})
        (budget,) = method.budgets
        kept = method.choose(context([0.0] * 4), budget)
        assert budget.fits(kept)
        assert not budget.addable(kept) or masks == "every-other"


def test_given_masks_train_jointly_from_the_smallest_size_without_scores() -> None:
    config = tiny_config(train={"num_steps": 20}, passes={"smallest_first": 0.75})
    steps, _ = schedule("fixed", config, masks="last-k")
    assert steps.boundaries() == [("smallest size", 0), ("joint", 15)]
    steps.begin(0)
    (only,) = steps.plan(0).passes
    assert only.kept == (False, False, True, True)
    steps.begin(15)
    assert {p.budget: p.kept for p in steps.plan(15).passes} == {"2": only.kept, "4": (True,) * 4}
    assert all(p.gate is None for p in steps.plan(15).passes)


def layers(*numbers: int) -> Subnet:
    return Subnet("layer", tuple(f"layers.{i}" for i in numbers))


@pytest.fixture
def selection(tmp_path: Path) -> Path:
    path = tmp_path / "greedy.json"
    Selection("greedy", (Choice("2", layers(1, 3)), Choice("3", layers(0, 1, 3)))).save(path)
    return path


def test_masks_come_from_a_selection_and_stay_when_its_file_is_gone(selection: Path) -> None:
    given = {"name": "fixed", "selection": str(selection)}
    resolved = resolve([{"method": given, "sizes": [2, 3, 4]}])
    selection.unlink()
    again = resolve_trained(resolved.config.model_dump(mode="json")).method
    budget = Budget.of_size(3, 4)
    for method in (resolved.method, again):
        assert method.choose(context([0.0] * 4), budget) == (True, True, False, True)
        assert method.choose(context([0.0] * 4), Budget.of_size(4, 4)) == (True,) * 4


def test_masks_come_from_a_run(tmp_path: Path) -> None:
    (tmp_path / "subnets").mkdir()
    for subnet in (layers(1, 3), layers(0, 1, 2, 3)):
        subnet.save(tmp_path / "subnets" / f"{subnet.size}.json")
    config = tiny_config(sizes=(2, 4))
    assert chosen(config, selection=tmp_path)["2"] == (False, True, False, True)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([1, 4], ["`method.kept` must name the units of 1, but names those of 2, 3 instead"]),
        ([3, 2], ["`subnet` must keep units of this network"]),
    ],
)
def test_masks_that_do_not_fit_are_reported(selection: Path, sizes: list[int], expected: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        resolve([{"method": {"name": "fixed", "selection": str(selection)}, "sizes": sizes}])
    assert len(error.value.problems) == len(expected) or sizes == [3, 2]
    assert error.value.problems[0].startswith(expected[0])


@pytest.mark.parametrize("text", [None, "{}", '{"choices": [3]}', "nonsense"])
def test_files_that_hold_no_masks_are_reported(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "x.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError) as error:
        resolve([{"method": {"name": "fixed", "selection": str(file)}, "sizes": [2, 4]}])
    (problem,) = error.value.problems
    assert f"'{file}' must" in problem


# Growing


def test_the_largest_size_alone_grows_from_the_smallest() -> None:
    config = tiny_config(sizes=(1, 2, 4), train={"num_steps": 20}, passes={"smallest_first": 0.6})
    steps, _ = schedule("on-demand", config, max_drop=0.0, grow=True)
    assert steps.boundaries() == [("smallest size", 0), ("full network", 12)]
    steps.begin(0)
    (first,) = steps.plan(0).passes
    assert (first.budget, units(first.kept), first.share) == ("1", [0], None)
    (later,) = steps.plan(12).passes
    assert (later.budget, later.kept, later.share) == ("4", (True,) * 4, None)


@pytest.mark.parametrize(
    ("size", "kept", "expected"),
    [
        (3, None, [("first units", 0, [0, 1]), ("alone", 15, [0, 1, 2])]),
        (3, (0, 2, 3), [("first units", 0, [0, 2]), ("alone", 15, [0, 2, 3])]),
        (2, None, [("alone", 0, [0, 1])]),
    ],
)
def test_one_size_alone_grows_from_its_first_units(
    size: int, kept: tuple[int, ...] | None, expected: list[tuple[str, int, list[int]]]
) -> None:
    config = tiny_config(sizes=(size,), train={"num_steps": 20}, passes={"smallest_first": 0.75})
    names = None if kept is None else layers(*kept).kept
    steps, _ = schedule("individual", config, grow_from=2, kept=names)
    steps.begin(0)
    found = [(name, start, steps.plan(start).passes) for name, start in steps.boundaries()]
    assert [(name, start, units(only.kept)) for name, start, (only,) in found] == expected


def test_growth_needs_a_step() -> None:
    config = tiny_config(sizes=(4,), train={"num_steps": 20}, passes={"smallest_first": 0.0})
    steps, _ = schedule("individual", config, grow_from=2)
    assert steps.boundaries() == [("alone", 0)]
