"""The text and the pictures of the page about a synthetic comparison."""

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
"""For tests that only look at the text of a page: drawing takes seconds."""


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


def test_the_page_says_where_its_numbers_are_from(layers: Comparison, page: Page) -> None:
    assert layers.machine in page.text
    assert "200 validation utterances" in page.text
    assert "400 test utterances" in page.text
    assert "10 seconds of audio" in page.text


def test_the_pictures_are_on_the_page_and_need_nothing_else(page: Page) -> None:
    # The choices for three budgets, three costs, facts, similarities.
    assert len(page.pictures) == 8
    assert page.outside == []
    for picture in page.pictures:
        assert picture.title
        assert set(picture.targets) <= set(picture.ids)
    names = [name for picture in page.pictures for name in picture.ids]
    assert len(set(names)) == len(names), "pictures of a page do not share names"


def test_pictures_name_strategies_units_axes_and_the_best(layers: Comparison, page: Page) -> None:
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


def test_ties_are_said_as_ties(layers: Comparison) -> None:
    contest = contest_of(layers, "9")
    said = sentences(contest)
    ties = [row.strategy for row in contest.rows if row.difference.verdict == "tie"]
    assert len(ties) > 1
    (about,) = [sentence for sentence in said if "tied" in sentence]
    assert all(name in about for name in ties)
    assert "may be due to chance" in about
    for name in ties:
        assert verdict(contest, row_of(contest, name)).startswith("tie p=")


def test_equal_choices_are_the_same_and_not_a_tie(layers: Comparison) -> None:
    contest = contest_of(layers, "9")
    (about,) = [sentence for sentence in sentences(contest) if "the same units." in sentence]
    assert about.startswith("greedy, evolution, ")
    assert verdict(contest, row_of(contest, "greedy")) == "same"
    assert verdict(contest, row_of(contest, contest.yardstick)) == "best"


def test_who_is_worse_and_who_is_better(layers: Comparison) -> None:
    contest = contest_of(layers, "9")
    assert "similarity and random make more errors" in " ".join(sentences(contest))
    lucky = row_of(contest, "random")
    lucky = replace(lucky, difference=replace(lucky.difference, rate=-0.01, p=0.0001))
    rows = tuple(lucky if row.strategy == "random" else row for row in contest.rows)
    said = " ".join(sentences(replace(contest, rows=rows)))
    assert "random makes fewer errors on the test split, although" in said
    assert verdict(contest, lucky) == "−1.00 p<0.001"


def test_what_is_said_of_the_learned_scores(layers: Comparison) -> None:
    contest = contest_of(layers, "6")
    row = row_of(contest, "learned")
    said = sentences(contest)[-1]
    assert said.startswith(f"The learned scores are {row.regret:.4f} above the best")
    assert f"{100 * row.difference.rate:.2f} points higher" in said
    assert "p=0.027" in said
    assert "They beat 99.7 % of all subnets." in said
    assert sentences(contest_of(layers, "latency=15ms"))[-1].startswith("The learned scores lead to the same")


def test_nothing_is_said_of_learned_scores_that_do_not_exist(layers: Comparison) -> None:
    contest = contest_of(layers, "6")
    rows = tuple(row for row in contest.rows if row.strategy != "learned")
    assert "learned" not in " ".join(sentences(replace(contest, rows=rows))).lower()


def test_exact_only_where_all_were_scored(layers: Comparison) -> None:
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


def test_a_strategy_that_chose_alone(layers: Comparison) -> None:
    contest = replace(layers.contests[0], rows=layers.contests[0].rows[:1])
    alone = replace(layers, contests=(contest,))
    assert "exhaustive was the only one to choose" in Page(section(alone, NO_PICTURES)).text
    assert verdict(contest, contest.rows[0]) == ""


def test_limits_in_words(layers: Comparison, modules: Comparison) -> None:
    assert limit_text(layers.contests[0], 12) == "6 of 12 units"
    assert limit_text(contest_of(layers, "latency=15ms"), 12) == "at most 15.00 ms of latency"
    assert limit_text(contest_of(modules, "macs=50%"), 48) == "at most 5.150 G MACs"


def test_reasons_not_to_choose(layers: Comparison, page: Page) -> None:
    assert f"exhaustive did not choose for macs=50% because {made_up.UNFIT}." in page.text
    assert "learned did not choose for 3 because the training method learned no scores." in page.text


def test_where_all_could_choose_nothing_is_said_of_it(layers: Comparison) -> None:
    assert "could not choose" not in Page(section(replace(layers, unfit=()), NO_PICTURES)).text


def test_milliseconds_as_a_sum_and_as_a_whole(layers: Comparison) -> None:
    times = {"latency=15ms": {"greedy": (0.0095, 0.01)}}
    text = Page(section(replace(layers, latency_error=times), NO_PICTURES)).text
    assert "9.50 ms 10.00 ms -5.0 %" in text


def test_p_values_of_pairs_are_on_the_page(layers: Comparison, page: Page) -> None:
    assert (
        page.tags.count("details") == 3 + 2 + 1 + 1
    )  # three tables of pairs, two more costs, the units' numbers, how to read it
    assert "Every strategy against every other" in page.text


def test_units_without_scores(layers: Comparison) -> None:
    plain = replace(layers, contests=(), facts=tuple(replace(fact, score=None) for fact in layers.facts))
    text = Page(section(plain, NO_PICTURES)).text
    assert "0 – " in text
    assert f"{layers.facts[0].loss_without:+.4f}" in text


def test_modules_on_the_page(modules: Comparison) -> None:
    html = section(modules, draw_all(modules))
    page = Page(html)
    assert "initials of the modules" in page.text
    assert len(page.pictures) == 8
    for contest in modules.contests:
        for row in contest.rows:
            assert short_names(row.kept) in page.text


def test_alike_choices_stand_together(layers: Comparison) -> None:
    groups = alike_together(contest_of(layers, "9"))
    assert groups[0][0].strategy == "exhaustive"
    assert all(len({row.kept for row in group}) == 1 for group in groups)
    assert len({group[0].kept for group in groups}) == len(groups)


def test_what_there_is_is_drawn(layers: Comparison) -> None:
    pictures = draw_all(replace(layers, contests=layers.contests[:1], facts=()))
    assert "choices-1" in pictures
    assert "facts" not in pictures
    for picture in pictures.values():
        pixels = matplotlib.image.imread(BytesIO(picture.png), format="png")
        assert pixels[..., :3].std() > 0.02, "not blank"


def test_nothing_to_draw(layers: Comparison) -> None:
    assert draw_all(replace(layers, contests=layers.contests[-1:], facts=(), similarities={})) == {}


def test_costs_are_drawn_where_all_are_known(layers: Comparison) -> None:
    assert quantities(layers.contests) == ["macs", "params", "latency"]
    contest = layers.contests[0]
    untimed = [replace(row, costs={"units": 6.0, "params": 1e6, "macs": 1e9}) for row in contest.rows]
    assert quantities([replace(contest, rows=tuple(untimed)), *layers.contests[1:]]) == ["macs", "params"]
