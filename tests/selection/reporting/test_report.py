"""The text and pictures of the report page on a synthetic comparison."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import matplotlib.image
import pytest

from selection.comparing.comparison import Comparison, Contest, Row
from selection.reporting.pictures import alike_together, draw_all, quantities
from selection.reporting.report import limit_text, section, sentences
from selection.reporting.tables import verdict
from supernet.reporting.picture import Picture
from supernet.text.unit_names import short_names
from tests.selection import made_up
from tests.supernet.reporting.html import Page

NO_PICTURES: dict[str, Picture] = {}
"""For tests that only check the text of a page; drawing takes seconds."""


@pytest.fixture(scope="module")
def layers() -> Comparison:
    return made_up.layers()


@pytest.fixture(scope="module")
def modules() -> Comparison:
    return made_up.modules()


@pytest.fixture(scope="module")
def html(layers: Comparison) -> str:
    return section(layers, draw_all(layers))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def contest_of(comparison: Comparison, budget: str) -> Contest:
    return next(contest for contest in comparison.contests if contest.budget == budget)


def row_of(contest: Contest, strategy: str) -> Row:
    return next(row for row in contest.rows if row.strategy == strategy)


def test_every_choice_is_on_the_page_with_its_numbers(layers: Comparison, page: Page) -> None:
    for contest in layers.contests:
        assert f"Budget {contest.budget} " in page.text
        for row in contest.rows:
            low, high = row.rate_ci95
            assert row.strategy in page.text
            assert f"{row.loss:.4f}" in page.text
            assert f"{100 * row.wer:.2f}" in page.text
            if len(contest.rows) > 1:
                assert f"({100 * low:.1f}–{100 * high:.1f})" in page.text
                assert f"{short_names(row.kept)} " in page.text


def test_the_page_says_how_its_numbers_were_measured(layers: Comparison, page: Page) -> None:
    assert layers.machine in page.text
    assert "200 validation utterances" in page.text
    assert "400 test utterances" in page.text
    assert "10 seconds of audio" in page.text


def test_the_page_contains_its_pictures(page: Page) -> None:
    # The choices for three budgets, three costs, facts, similarities.
    assert len(page.pictures) == 8
    assert page.outside == []
    for picture in page.pictures:
        assert picture.title
        assert set(picture.targets) <= set(picture.ids)
    names = [name for picture in page.pictures for name in picture.ids]
    assert len(set(names)) == len(names), "pictures of a page must not share names"


def test_pictures_label_strategies_units_axes_and_the_best_choice(layers: Comparison, page: Page) -> None:
    contest, (picture, *_) = contest_of(layers, "6"), page.pictures
    for row in contest.rows:
        star = "★ " if row.strategy == contest.yardstick else ""
        assert f"{star}{row.strategy}" in picture.texts
    assert {"unit", "validation loss per frame", "test WER (95 % interval)"} <= set(picture.texts)
    assert any(text.endswith(" %") for text in picture.texts)
    against = page.pictures[3].texts
    assert {"MACs for 10 s of audio (G)", "test WER", "■ full network", "★ best choices"} <= set(against)


def test_names_are_escaped(layers: Comparison) -> None:
    contest = layers.contests[0]
    rows = tuple(
        replace(row, strategy="<b>&greedy") if row.strategy == "greedy" else row for row in contest.rows
    )
    odd = replace(
        layers,
        machine="<script>alert(1)</script>",
        contests=(replace(contest, rows=rows, pairs={}),),
        facts=(),
        similarities={},
    )
    html = section(odd, draw_all(odd))
    assert "<b>" not in html
    assert "<script" not in html
    assert "<b>&greedy" in Page(html).text
    assert "<b>&greedy" in Page(html).pictures[0].texts


def test_ties_are_called_ties(layers: Comparison) -> None:
    contest = contest_of(layers, "9")
    said = sentences(contest)
    ties = [row.strategy for row in contest.rows if row.difference.verdict == "tie"]
    assert len(ties) > 1
    (about,) = [sentence for sentence in said if "tied" in sentence]
    assert all(name in about for name in ties)
    assert "may be due to chance" in about
    for name in ties:
        assert verdict(contest, row_of(contest, name)).startswith("tie p=")


def test_equal_choices_are_called_the_same_rather_than_a_tie(layers: Comparison) -> None:
    contest = contest_of(layers, "9")
    (about,) = [sentence for sentence in sentences(contest) if "the same units." in sentence]
    assert about.startswith("greedy, evolution, ")
    assert verdict(contest, row_of(contest, "greedy")) == "same"
    assert verdict(contest, row_of(contest, contest.yardstick)) == "best"


def test_worse_and_better_strategies_are_named(layers: Comparison) -> None:
    contest = contest_of(layers, "9")
    assert "similarity and random make more errors" in " ".join(sentences(contest))
    lucky = row_of(contest, "random")
    lucky = replace(lucky, difference=replace(lucky.difference, rate=-0.01, p=0.0001))
    rows = tuple(lucky if row.strategy == "random" else row for row in contest.rows)
    said = " ".join(sentences(replace(contest, rows=rows)))
    assert "random makes fewer errors on the test split, although" in said
    assert verdict(contest, lucky) == "−1.00 p<0.001"


def test_the_page_compares_learned_scores_with_the_best(layers: Comparison) -> None:
    contest = contest_of(layers, "6")
    row = row_of(contest, "learned")
    said = sentences(contest)[-1]
    assert said.startswith(f"The learned scores are {row.regret:.4f} above the best")
    assert f"{100 * row.difference.rate:.2f} points higher" in said
    assert "p=0.027" in said
    assert "They beat 99.7 % of all subnets." in said
    assert sentences(contest_of(layers, "latency=15ms"))[-1].startswith("The learned scores lead to the same")


def test_the_page_does_not_mention_missing_learned_scores(layers: Comparison) -> None:
    contest = contest_of(layers, "6")
    rows = tuple(row for row in contest.rows if row.strategy != "learned")
    assert "learned" not in " ".join(sentences(replace(contest, rows=rows))).lower()


def test_a_result_is_called_exact_only_if_all_subnets_were_scored(layers: Comparison) -> None:
    assert "All 924 subnets of this size were scored" in sentences(contest_of(layers, "6"))[1]
    assert "All 220 subnets of this size" in sentences(contest_of(layers, "9"))[1]
    inexact = contest_of(layers, "latency=15ms")
    assert sentences(inexact)[1].startswith("Not all subnets were scored")
    assert sentences(replace(inexact, num_scored=97))[1].startswith("All 97 subnets that fit the budget")


def test_a_budget_that_the_full_network_meets_is_one_line(page: Page) -> None:
    assert (
        "The full network meets this budget, so there is nothing to choose: all units (0-11), 12 units"
        in page.text
    )


def test_a_single_strategy_is_compared_with_nothing(layers: Comparison) -> None:
    contest = replace(layers.contests[0], rows=layers.contests[0].rows[:1])
    alone = replace(layers, contests=(contest,))
    assert "exhaustive was the only one to choose" in Page(section(alone, NO_PICTURES)).text
    assert verdict(contest, contest.rows[0]) == ""


def test_limits_are_written_in_words(layers: Comparison, modules: Comparison) -> None:
    assert limit_text(layers.contests[0], 12) == "6 of 12 units"
    assert limit_text(contest_of(layers, "latency=15ms"), 12) == "at most 15.00 ms of latency"
    assert limit_text(contest_of(modules, "macs=50%"), 48) == "at most 5.150 G MACs"


def test_strategies_that_could_not_choose_are_listed_with_reasons(layers: Comparison, page: Page) -> None:
    assert f"exhaustive did not choose for macs=50% because {made_up.UNFIT}." in page.text
    assert "learned did not choose for 3 because the training method learned no scores." in page.text


def test_if_all_strategies_could_choose_the_page_says_nothing_about_it(layers: Comparison) -> None:
    assert "could not choose" not in Page(section(replace(layers, unfit=()), NO_PICTURES)).text


def test_measured_latency_is_next_to_the_sum_of_units(layers: Comparison) -> None:
    times = {"latency=15ms": {"greedy": (0.0095, 0.01)}}
    text = Page(section(replace(layers, latency_error=times), NO_PICTURES)).text
    assert "9.50 ms 10.00 ms -5.0 %" in text


def test_p_values_of_pairs_are_on_the_page(layers: Comparison, page: Page) -> None:
    assert (
        page.tags.count("details") == 3 + 2 + 1 + 1
    )  # three tables of pairs, two more costs, the numbers of all units, an explanation
    assert "Every strategy against every other" in page.text


def test_units_may_have_no_scores(layers: Comparison) -> None:
    plain = replace(layers, contests=(), facts=tuple(replace(fact, score=None) for fact in layers.facts))
    text = Page(section(plain, NO_PICTURES)).text
    assert "0 – " in text
    assert f"{layers.facts[0].loss_without:+.4f}" in text
    assert "WER after it" in text
    assert f"{100 * (layers.facts[3].rate_after or 0):.2f} %" in text


def test_the_page_can_compare_modules(modules: Comparison) -> None:
    html = section(modules, draw_all(modules))
    page = Page(html)
    assert "initials of the modules" in page.text
    assert len(page.pictures) == 8
    for contest in modules.contests:
        for row in contest.rows:
            assert short_names(row.kept) in page.text


def test_equal_choices_are_grouped(layers: Comparison) -> None:
    groups = alike_together(contest_of(layers, "9"))
    assert groups[0][0].strategy == "exhaustive"
    assert all(len({row.kept for row in group}) == 1 for group in groups)
    assert len({group[0].kept for group in groups}) == len(groups)


def test_only_available_data_are_drawn(layers: Comparison) -> None:
    pictures = draw_all(replace(layers, contests=layers.contests[:1], facts=()))
    assert "choices-1" in pictures
    assert "facts" not in pictures
    for picture in pictures.values():
        pixels = matplotlib.image.imread(BytesIO(picture.png), format="png")
        assert pixels[..., :3].std() > 0.02, "the picture must not be blank"


def test_without_data_there_are_no_pictures(layers: Comparison) -> None:
    assert draw_all(replace(layers, contests=layers.contests[-1:], facts=(), similarities={})) == {}


def test_a_cost_is_drawn_only_if_known_for_all(layers: Comparison) -> None:
    assert quantities(layers.contests) == ["macs", "params", "latency"]
    contest = layers.contests[0]
    untimed = [replace(row, costs={"units": 6.0, "params": 1e6, "macs": 1e9}) for row in contest.rows]
    assert quantities([replace(contest, rows=tuple(untimed)), *layers.contests[1:]]) == ["macs", "params"]
