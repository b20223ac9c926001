"""Error rates, intervals, hypervolumes and costs of a comparison equal hand-computed values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selection.study.contenders import Lineup
from selection.study.definition import CompareDefinition, Contender, checked
from selection.study.regime_outcome import Gap, RegimeOutcome, SizeResult, gaps, hypervolume, missing
from selection.study.reporting.compare_report import behind, page
from selection.study.reporting.compare_sentences import conclusions
from supernet.errors import ConfigError
from supernet.scoring.statistics import paired_difference
from tests.selection.study.test_contenders import SETTINGS

WORDS = [10] * 40
ALONE, JOINT = Contender("individual", None), Contender("simple-top-k", None)


def notes(per_size: dict[int, int], updates: int = 1000, seconds: float = 60.0) -> dict[str, Any]:
    """The records of a run with these numbers of errors per size, distributed evenly over the utterances."""
    rows = []
    for size, wrong in per_size.items():
        errors = [(i + 1) * wrong // 40 - i * wrong // 40 for i in range(40)]
        rows.append(
            {
                "strategy": None, "size": size, "kept": [str(i) for i in range(size)], "params": 100 * size,
                "macs": 1000 * size, "wer": wrong / 400, "cer": wrong / 2000, "errors": errors,
                "evaluations": 0, "seconds": 0.0,
            }
        )  # fmt: skip
    costs = {"unit_steps": 10 * updates, "training_macs": 1e12, "training_seconds": seconds}
    return {"updates": updates, "words": WORDS, "rows": rows, **costs}


def outcome(
    joint: list[dict[int, int]], alone: list[dict[int, int]], against: str | None = None
) -> RegimeOutcome:
    """The outcome for these errors by size for each seed: of the supernet, and of each size alone."""
    seeds = list(range(len(joint)))
    definition = {"settings": SETTINGS, "seeds": seeds, "regimes": ["updates"], "against": against}
    lineup = Lineup(
        checked(CompareDefinition, {**definition, "methods": {"simple-top-k": [], "individual": []}})
    )
    trials = {f"simple-top-k-1000-seed{seed}": notes(joint[seed]) for seed in seeds}
    for seed in seeds:
        for size, wrong in alone[seed].items():
            trials[f"individual-{size}-1000-seed{seed}"] = notes({size: wrong}, seconds=30.0)
    assert missing(lineup, "updates", trials) == []
    return RegimeOutcome(lineup, "updates", trials)


def test_trainings_with_different_test_words_cannot_be_compared() -> None:
    """Because settings of a task can change its test split."""
    found = outcome([{2: 20, 4: 10}], [{2: 80, 4: 11}])
    elsewhere = dict(found.trials["individual-4-1000-seed0"], words=[10] * 39 + [9])
    found = RegimeOutcome(found.lineup, "updates", {**found.trials, "individual-4-1000-seed0": elsewhere})
    with pytest.raises(ConfigError, match="individual-4-1000-seed0"):
        _ = found.results


def test_the_best_contender_of_a_size_has_the_lowest_mean() -> None:
    found = outcome([{2: 20, 4: 10}, {2: 28, 4: 14}], [{2: 80, 4: 11}, {2: 88, 4: 13}])
    assert found.best("2") == JOINT
    assert found.results[JOINT]["2"].mean == pytest.approx(24 / 400)
    behind = found.gaps["2"][ALONE]
    assert behind.points == pytest.approx(60 / 400)
    assert behind.is_clear
    assert found.gaps["4"][ALONE if found.best("4") == JOINT else JOINT].points == 0
    text = " ".join(conclusions(found))
    assert (
        "2 units: lowest WER with simple-top-k, 6.00 % on average; clearly better than individual (+15.00)."
        in text
    )
    assert "2 seeds say little" in text
    assert "40 test utterances, 400 words" in text


def test_a_named_yardstick_may_be_worse_than_others() -> None:
    found = outcome([{2: 20, 4: 10}, {2: 28, 4: 14}], [{2: 80, 4: 11}, {2: 88, 4: 13}], "individual")
    assert found.yardstick("2") == found.yardstick("4") == ALONE
    ahead = found.gaps["2"][JOINT]
    assert ahead.points == pytest.approx(-60 / 400)
    assert ahead.interval[1] < 0
    assert behind(found, JOINT, "2").startswith("-15.00 [")
    assert behind(found, JOINT, "2").endswith("]*")
    assert behind(found, ALONE, "2") == "yardstick"
    text = " ".join(conclusions(found))
    assert "2 units: individual, 21.00 % on average; clearly worse than simple-top-k (-15.00)." in text
    assert "4 units: individual, 3.00 % on average; not told apart from simple-top-k (+0.00)." in text
    html = page("x", [found], [])
    assert "behind individual" in html
    assert '<td class="better">-15.00 [' in html


def test_contenders_with_equal_errors_are_named_together() -> None:
    found = outcome([{2: 20, 4: 12}], [{2: 80, 4: 12}])
    assert "4 units: lowest WER with simple-top-k = individual, 3.00 % on average." in conclusions(found)
    assert "One seed says nothing" in conclusions(found)[-1]


def test_scripts_without_spaces_are_compared_by_characters() -> None:
    spaced = outcome([{2: 20, 4: 10}], [{2: 80, 4: 11}])
    trials = {name: {**trial, "measure": "cer"} for name, trial in spaced.trials.items()}
    for trial in trials.values():
        trial["rows"] = [{**row, "rate": row["wer"] / 5} for row in trial["rows"]]
    found = RegimeOutcome(spaced.lineup, "updates", trials)
    assert found.results[JOINT]["2"].mean == pytest.approx(20 / 400 / 5)
    text = " ".join(conclusions(found))
    assert "lowest CER with simple-top-k, 1.00 % on average" in text
    assert "400 characters" in text
    html = page("x", [found], [])
    assert "test CER, %" in html
    assert "WER" not in html


def test_costs_are_sums_over_sizes_and_means_over_seeds() -> None:
    found = outcome([{2: 20, 4: 10}, {2: 20, 4: 10}], [{2: 20, 4: 10}, {2: 20, 4: 10}])
    joint, alone = found.cost(JOINT), found.cost(ALONE)
    assert (joint.runs, joint.updates, joint.training_seconds) == (1, 1000, 60)
    assert (alone.runs, alone.updates, alone.unit_steps, alone.training_seconds) == (2, 2000, 20_000, 60)


def test_hypervolumes_equal_hand_computed_values() -> None:
    found = outcome([{2: 40, 4: 20}], [{2: 400, 4: 20}])
    # The reference point is 1.1 times the MACs of the full network and a WER of 0.2; the sizes have 0.5 and
    # 1.0 times these MACs.
    joint = (0.6 * (0.2 - 0.1) + 0.1 * (0.1 - 0.05)) / (1.1 * 0.2)
    assert found.hypervolumes(JOINT) == pytest.approx([joint])
    # The small network alone is beyond the reference point and adds nothing.
    assert found.hypervolumes(ALONE) == pytest.approx([0.1 * 0.15 / (1.1 * 0.2)])


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=6))
def test_hypervolume_equals_the_number_of_dominated_cells(points: list[tuple[int, int]]) -> None:
    cells = ((x, y) for x in range(10) for y in range(8))
    dominated = sum(any(a <= x and b <= y for a, b in points) for x, y in cells)
    assert hypervolume(points, (10, 8)) == dominated


def size_result(errors: list[list[int]]) -> SizeResult:
    counts = np.array(errors)
    return SizeResult((0.0,) * len(errors), counts, np.array([5] * counts.shape[1]), 1.0)


def gap_of(first: SizeResult, second: SizeResult) -> Gap:
    return gaps({JOINT: first, ALONE: second}, ALONE, is_named=True)[JOINT]


def test_the_interval_of_equal_results_is_zero() -> None:
    same = size_result([[1, 0, 2, 0], [0, 1, 0, 0]])
    found = gap_of(same, same)
    assert (found.points, found.interval) == (0.0, (0.0, 0.0))
    assert not found.is_clear


def test_seeds_that_disagree_widen_the_interval() -> None:
    """If all utterances agree, seeds are the only source of variance, and Student's t applies."""
    rng = np.random.default_rng(0)
    base = np.repeat(rng.binomial(5, 0.2, (1, 300)), 3, axis=0)
    low, high = gap_of(size_result((base + 1).tolist()), size_result(base.tolist())).interval
    assert (low, high) == pytest.approx((0.2, 0.2))
    shifts = np.array([[0], [1], [2]])
    low, high = gap_of(
        size_result((base + shifts).tolist()), size_result((base + 1 - shifts).tolist())
    ).interval
    # Two means of three seeds with a standard deviation of 0.2; t with 4 degrees of freedom is 2.776.
    width = 2.776 * 0.2 * np.sqrt(2 / 3)
    assert (low, high) == pytest.approx((0.2 - width, 0.2 + width), rel=0.05)


def test_with_one_seed_the_interval_equals_that_of_the_paired_bootstrap() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.binomial(5, 0.25, 200), rng.binomial(5, 0.2, 200)
    found = gap_of(size_result([a.tolist()]), size_result([b.tolist()]))
    difference, low, high = paired_difference(a, b, np.array([5] * 200))
    assert found.points == pytest.approx(difference)
    assert found.interval == pytest.approx((low, high), abs=0.004)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=3))
def test_no_contender_is_better_than_the_best(errors: list[tuple[int, int]]) -> None:
    found = outcome([{2: a, 4: 1} for a, _ in errors], [{2: b, 4: 1} for _, b in errors])
    assert all(gap.points >= 0 for gap in found.gaps["2"].values())
    assert found.gaps["2"].keys() == {ALONE, JOINT} - {found.best("2")}


def test_missing_trainings_are_listed() -> None:
    found = outcome([{2: 20, 4: 10}], [{2: 20, 4: 10}])
    trials = {"simple-top-k-1000-seed0": notes({2: 20, 4: 10})}
    assert missing(found.lineup, "updates", trials) == ["individual-4-1000-seed0", "individual-2-1000-seed0"]
