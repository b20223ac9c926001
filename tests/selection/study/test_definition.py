"""Definitions of studies, and clear messages on all problems of invalid ones at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from selection.commands.study import complete, completed, definition_data
from selection.study.__main__ import build_parser
from selection.study.contenders import seconds_a_step
from selection.study.curves_definition import CurvesDefinition
from selection.study.definition import CompareDefinition, Definition, checked
from selection.study.space import Dimension, nested, read, written
from selection.study.tune_definition import TuneDefinition
from supernet.errors import ConfigError
from supernet.settings.names import presets
from supernet.settings.presets import load_file
from tests.selection.study.test_contenders import SETTINGS

ROOT = Path(__file__).parents[3]
ELSEWHERE = {"name": "digits", "path": "x"}
LR = {"low": 0.001, "high": 0.01, "log": True}


def problems(kls: type[Definition], **data: Any) -> list[str]:
    with pytest.raises(ConfigError) as error:
        checked(kls, {"settings": SETTINGS, **data})
    return error.value.problems


def test_the_projects_studies_are_valid_and_no_presets() -> None:
    compare = checked(CompareDefinition, load_file(ROOT / "configs" / "study_compare.yaml"))
    assert compare.methods["on-demand"] == ("tail", "greedy", "every-other", "similarity")
    assert compare.seeds == (0, 1, 2)
    controls = checked(CompareDefinition, load_file(ROOT / "configs" / "study_controls.yaml"))
    assert set(controls.fine_tuned) == {"prune-and-fine-tune"}
    assert {"first-k", "random-2", "grown", "individual-grown"} <= set(controls.variants)
    ideas = checked(CompareDefinition, load_file(ROOT / "configs" / "study_ideas.yaml"))
    assert set(ideas.ways) == {"simple-top-k", *ideas.variants}
    equal = checked(CompareDefinition, load_file(ROOT / "configs" / "study_equal_compute.yaml"))
    costs = [seconds_a_step(equal.resolved(changes).config) for changes in equal.ways.values()]
    assert costs == [costs[0], costs[0], 2 * costs[0]]  # a batch twice as large
    tune = checked(TuneDefinition, load_file(ROOT / "configs" / "study_tune.yaml"))
    assert tune.trials
    assert not [name for name in presets() if name.startswith("study")]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"methods": {"simple-top-kk": []}}, "`method` must be one of"),
        ({"methods": {"on-demand": ["gredy"]}}, "Did you mean greedy"),
        ({"methods": {}}, "`methods`"),
        (
            {"variants": {"a": {"train": {"lrr": 1}}}},
            "`variants.a`: `train.lrr` must be a setting that exists",
        ),
        ({"variants": {"a": {"train": 3}}}, "`train`"),
        ({"variants": {"A b": {}}}, "`variants` must be letters, digits"),
        ({"variants": {"individual": {}}}, "`variants.individual` must have a name of its own"),
        ({"variants": {"a": {"sizes": [3]}}}, "`variants.a` must leave `sizes` to the comparison"),
        ({"variants": {"a": {"train": {"num_steps": 3}}}}, "must leave `train.num_steps` to the comparison"),
        ({"variants": {"a": {"task": ELSEWHERE}}}, "`variants.a` must leave `task` to the comparison"),
        ({"variants": {"a": {"preset": "librispeech-100", "task": {"path": "x"}}}}, "must leave `task` to"),
        ({"strategies": {"individual": ["tail"]}}, "`strategies.individual` must be of a variant"),
        ({"variants": {"a": {}}, "strategies": {"a": ["gredy"]}}, "Did you mean greedy"),
        ({"fine_tuned": {"a": {"of": "individuel", "strategy": "tail"}}}, "Did you mean individual"),
        ({"fine_tuned": {"a": {"of": "individual", "strategy": "tale"}}}, "Did you mean tail"),
        ({"fine_tuned": {"a": {"of": "individual", "strategy": "tail", "share": 1}}}, "`fine_tuned.a.share`"),
        ({"fine_tuned": {"individual": {"of": "individual", "strategy": "tail"}}}, "must have a name of its"),
        (
            {"fine_tuned": {"a": {"of": "individual", "strategy": "tail", "settings": {"seed": 1}}}},
            "`fine_tuned.a` must leave `seed` to the comparison",
        ),
        ({"distilled": {"a": {"of": "individuel"}}}, "`distilled.a` must be `of` a method or variant"),
        ({"distilled": {"individual": {"of": "individual"}}}, "must have a name of its own"),
        (
            {"distilled": {"a": {"of": "individual", "settings": {"passes": {"teacher": "x"}}}}},
            "`distilled.a` must leave `passes.teacher` to the comparison",
        ),
        (
            {
                "distilled": {"a": {"of": "individual"}},
                "fine_tuned": {"a": {"of": "individual", "strategy": "tail"}},
            },
            "`fine_tuned.a` must have a name of its own",
        ),
        ({"rates": [0.1, 0.1]}, "`rates` must be some that differ"),
        ({"rates": [0]}, "`rates.0`"),
        ({"rates": [0.1], "variants": {"a": {"train": {"lr": 1}}}}, "`variants.a` must leave `train.lr` to"),
        ({"seeds": [1, 1]}, "`seeds` must be some that differ"),
        ({"seeds": []}, "`seeds` must be some that differ, but are [] instead"),
        ({"regimes": ["time"]}, "`regimes.0`"),
        ({"reference_wer": 0}, "`reference_wer`"),
        (
            {"methods": {"on-demand": ["tail"]}, "against": "on-demand"},
            "`against` must name a contender, but is 'on-demand' instead. Did you mean on-demand, tail",
        ),
        ({"against": "on-demand, tale"}, "Did you mean on-demand, tail"),
        ({"sedes": [1]}, "`sedes` must be a setting that exists, but is not. Did you mean seeds"),
        ({"settings": {**SETTINGS, "sices": [3]}}, "`sices` must be a setting that exists"),
    ],
)
def test_problems_of_comparisons_are_described(data: dict[str, Any], expected: str) -> None:
    assert any(expected in line for line in problems(CompareDefinition, **data))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, "`space`"),
        ({"space": {}}, "`space`"),
        ({"space": {"train.lrr": LR}}, "`train.lrr` must be a setting that exists"),
        ({"space": {"train.lr": {"low": 0.1}}}, "must have either `low` and `high`, or `choices`"),
        ({"space": {"train.lr": {"low": 0.1, "high": 0.01}}}, "`space.train.lr` must be a range"),
        ({"space": {"train.lr": {"low": -1.0, "high": 0.01}}}, "`train.lr`"),
        ({"space": {"train.lr": LR | {"choices": [1]}}}, "must have either"),
        ({"space": {"model.kernel": {"choices": [15, 16]}}}, "`model.kernel` must be odd"),
        ({"space": {"train.lr": LR}, "trials": [{"train.lr": 1.0}]}, "must lie within `space`"),
        ({"space": {"train.lr": LR}, "trials": [{"train.eps": 1.0}]}, "must set keys of `space`"),
        ({"space": {"train.lr": LR}, "objectives": ["wer/3"]}, "must be among errors, wer, cer, compute"),
        ({"space": {"train.lr": LR}, "reference": {2: 0.1}}, "`reference` must name the sizes [2, 4]"),
        ({"space": {"train.lr": LR}, "sampler": "TPESampl"}, "Did you mean TPESampler"),
        ({"space": {"train.lr": LR}, "sampler": {"name": "TPESampler", "gama": 1}}, "must be given options"),
        ({"space": {"train.lr": LR}, "pruner": "NoPruner"}, "Did you mean NopPruner"),
    ],
)  # fmt: skip
def test_problems_of_searches_are_described(data: dict[str, Any], expected: str) -> None:
    assert any(expected in line for line in problems(TuneDefinition, **data))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"lengths": []}, "`lengths`"),
        ({"lengths": [2, 2]}, "`lengths` must be some that differ"),
        ({"lengths": [0]}, "`lengths.0`"),
        ({"lengths": [1e-9]}, "`lengths` must be at least one update each"),
        ({"rates": [-1]}, "`rates.0`"),
        ({"seeds": []}, "`seeds` must be some that differ, but are [] instead"),
        ({"settings": {**SETTINGS, "method": "simple-top-k"}}, "`settings.method` must train each"),
        ({"settings": {**SETTINGS, "sices": [3]}}, "`sices` must be a setting that exists"),
        ({"settings": 3}, "`settings`"),
    ],
)
def test_problems_of_curves_are_described(data: dict[str, Any], expected: str) -> None:
    assert any(expected in line for line in problems(CurvesDefinition, **data))


def test_curves_are_trained_seed_by_seed_from_the_shortest() -> None:
    found = checked(CurvesDefinition, {"settings": SETTINGS, "lengths": [2, 0.5], "seeds": [3, 1]})
    steps = found.resolved().config.train.num_steps
    wanted = [(seed, steps * 2 // quarter, size) for seed in (3, 1) for quarter in (4, 1) for size in (4, 2)]
    assert [(p.seed, p.steps, p.size) for p in found.points()] == wanted
    assert found.resolved().config.method.name == "individual"


def test_null_removes_a_variant_of_the_file() -> None:
    parse = build_parser().parse_args
    line = ["--config", str(ROOT / "configs" / "study_ideas.yaml"), "--out", "x"]
    nulls = ["--set", "variants.rate-3e-3=null", "--set", "variants.equal-shares=null"]
    whole = checked(CompareDefinition, definition_data(parse(["compare", *line])))
    fewer = checked(CompareDefinition, definition_data(parse(["compare", *line, *nulls])))
    assert set(whole.ways) - set(fewer.ways) == {"rate-3e-3", "equal-shares"}


def test_the_device_is_not_part_of_the_stored_definition() -> None:
    arguments = ["compare", "--out", "x", "--task", "digits", "--set", "settings.task.path=x"]
    one, other = (
        checked(CompareDefinition, definition_data(build_parser().parse_args([*arguments, *more])))
        for more in (["--device", "cpu"], [])
    )
    assert one.resolved().config.device == "cpu"
    stored = complete("compare", one)
    assert stored == complete("compare", other)
    # As stored by earlier versions.
    before = stored | {"settings": stored["settings"] | {"device": "cuda:97"}}
    assert completed(before) == stored


def test_all_problems_are_reported_at_once() -> None:
    found = problems(
        TuneDefinition,
        space={"train.lrr": LR, "train.lr": {"low": 2.0, "high": 1.0}},
        trials=[{"x": 1}],
        sampler="Nobody",
    )
    assert len(found) == 4


@pytest.mark.parametrize(
    "method", ["simple-top-k", "iterative-zero-out", "on-demand", "ortho-softmax", "dais"]
)
def test_the_projects_search_suits_every_supernet(method: str, tmp_path: Path) -> None:
    args = build_parser().parse_args(["tune", "--method", method, "--out", str(tmp_path)])
    found = checked(TuneDefinition, definition_data(args))
    assert found.resolved().config.method.name == method
    assert ("method.score_learning" in found.space) == (method != "on-demand")
    assert all(set(trial) <= set(found.space) for trial in found.trials)


def test_trials_are_not_pruned_in_the_first_third_by_default() -> None:
    def first_pruned(pruner: dict[str, Any]) -> int:
        definition = checked(
            TuneDefinition, {"settings": SETTINGS, "space": {"train.lr": LR}, "pruner": pruner}
        )
        study = optuna.create_study(pruner=definition.new_pruner())
        trial = study.ask()
        for step in range(0, 1000, 100):
            trial.report(1.0, step)
            if trial.should_prune():
                return step
        return 1000

    assert first_pruned({"name": "ThresholdPruner", "upper": 0.5}) == 400  # of 1,000
    assert first_pruned({"name": "ThresholdPruner", "upper": 0.5, "n_warmup_steps": 0}) == 0
    assert first_pruned({"name": "NopPruner"}) == 1000


def test_values_are_stored_as_text_and_read_unchanged() -> None:
    for value in ([3, 6], {"a": 1}, "text", 3, 0.5, True, None):
        assert read(written(value)) == value
    dimension = Dimension(choices=([3], [3, 6]))
    assert dimension.holds([3, 6])
    assert not dimension.holds([6])


def test_ranges_of_integers_contain_only_integers() -> None:
    whole = Dimension(low=1, high=4)
    assert whole.holds(3)
    assert not whole.holds(2.5)
    assert not whole.holds("many")
    assert Dimension(low=1, high=4.0).holds(2.5)


def test_dotted_keys_become_nested() -> None:
    assert nested({"a.b": 1, "a.c": 2, "d": [3]}) == {"a": {"b": 1, "c": 2}, "d": [3]}


BUDGETS: dict[str, Any] = {"settings": {"budgets": ["macs=50%", "macs=100%"]}}
FINER: dict[str, Any] = {"finer": {"granularity": "module"}}


def test_only_a_comparison_can_be_of_budgets() -> None:
    assert checked(CompareDefinition, BUDGETS).resolved().config.names == ("macs=50%", "macs=100%")
    for kls, more in ((CurvesDefinition, {}), (TuneDefinition, {"space": {"train.lr": LR}})):
        (problem,) = problems(kls, **BUDGETS, **more)
        assert problem.startswith("`budgets` must be left out of a study that is no comparison")
    (problem,) = problems(CompareDefinition, settings={"budgets": ["latency=50%", "latency=100%"]})
    assert problem.startswith("`budgets` of a study must limit units, params or macs")


def test_units_may_differ_where_budgets_do_not_count_them() -> None:
    assert set(checked(CompareDefinition, {**BUDGETS, "variants": FINER}).ways) > {"finer"}
    (problem,) = problems(CompareDefinition, variants=FINER)
    assert problem.startswith("`variants.finer` must leave `granularity` to the comparison, whose sizes")
    tuned = {"tuned": {"of": "finer", "strategy": "tail"}}
    (problem,) = problems(CompareDefinition, **BUDGETS, variants=FINER, fine_tuned=tuned)
    assert "`fine_tuned.tuned` must have `settings.granularity` module, as 'finer' has" in problem


def test_of_sizes_and_budgets_those_of_the_command_line_stand() -> None:
    line = ["compare", "--out", "x", "--budget", "macs=50%,100%"]
    found = checked(CompareDefinition, definition_data(build_parser().parse_args(line)))
    assert found.resolved().config.names == ("macs=50%", "macs=100%")
    file = ["--config", str(ROOT / "configs" / "study_choosers.yaml"), "--sizes", "6,12"]
    without = [f"--set=variants.{name}=null" for name in checked_file("choosers").variants]
    against = ["--set", "against=null", "--set", "settings.passes={}", "--set", "settings.passes.stages=null"]
    words = ["compare", "--out", "x", *file, *without, *against, "--set", "settings.passes.shares=null"]
    found = checked(CompareDefinition, definition_data(build_parser().parse_args(words)))
    assert found.resolved().config.names == ("6", "12")


def checked_file(name: str) -> CompareDefinition:
    return checked(CompareDefinition, load_file(ROOT / "configs" / f"study_{name}.yaml"))
