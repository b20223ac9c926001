"""Alignments, sclite's files, and the page of the worst utterances."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernet.evaluation.alignment import NUM_WORST, Pair, align, confusions, page, trn, worst
from supernet.scoring.error_rates import TranscriptRows, count_errors, score
from tests.supernet.reporting.html import Page

words = st.lists(st.sampled_from(["a", "b", "ab", "ba"]), max_size=7).map(" ".join)
ROWS: TranscriptRows = [
    ("u-1", "the cat sat", "the cat sat"),
    ("u-2", "the <cat> & dog", "a <cat> & dog sat"),
    ("u-3", "on the mat", "on mat"),
]


def test_pairs_equal_hand_computed_ones() -> None:
    assert align("u", "the cat sat on", "a cat sat down on").pairs == (
        Pair("replace", "the", "a"),
        Pair("equal", "cat", "cat"),
        Pair("equal", "sat", "sat"),
        Pair("insert", "", "down"),
        Pair("equal", "on", "on"),
    )
    assert align("u", "on the mat", "on mat").pairs[1] == Pair("delete", "the", "")
    assert align("u", "", "a").rate == 1


@given(words, words)
def test_pairs_contain_both_texts_with_the_fewest_errors(reference: str, hypothesis: str) -> None:
    found = align("u", reference, hypothesis)
    assert " ".join(pair.reference for pair in found.pairs if pair.reference) == reference
    assert " ".join(pair.hypothesis for pair in found.pairs if pair.hypothesis) == hypothesis
    assert found.errors.total() == count_errors([reference], [hypothesis])[0, 0]
    for pair in found.pairs:
        assert (pair.kind == "equal") == (pair.reference == pair.hypothesis)
        assert (pair.kind == "insert") == (not pair.reference)
        assert (pair.kind == "delete") == (not pair.hypothesis)


def test_worst_utterances_come_first_and_perfect_ones_are_omitted() -> None:
    aligned = [align(*row) for row in [*ROWS, ("u-4", "a", "b")]]
    assert [found.id for found in worst(aligned)] == ["u-2", "u-4", "u-3"]
    assert [found.id for found in worst(aligned, 1)] == ["u-2"]


def test_confusions_are_counted_over_all_utterances() -> None:
    rows = [("1", "a b", "c b"), ("2", "a", "c"), ("3", "a b", "a")]
    found = confusions([align(*row) for row in rows])
    assert found == [(Pair("replace", "a", "c"), 2), (Pair("delete", "b", ""), 1)]


def test_trn_files_have_a_line_per_utterance_and_names_without_separators() -> None:
    reference, hypothesis = trn(
        [("a b", "the  cat", ""), ("x(1)", "a", "a b")], {"a b": "en-us_f3", "x(1)": "anna"}
    )
    assert reference == "the cat (en.us.f3-a_b)\na (anna-x_1_)\n"
    assert hypothesis == "(en.us.f3-a_b)\na b (anna-x_1_)\n"
    assert trn(ROWS[:1], {})[0] == "the cat sat (unknown-u-1)\n"


def rendered(rows: TranscriptRows) -> str:
    result = score([reference for _, reference, _ in rows], [hypothesis for _, _, hypothesis in rows])
    return page("run, test-6", rows, result, {"u-2": "anna"})


def test_the_page_marks_every_error_and_needs_no_other_files() -> None:
    html = rendered(ROWS)
    for kind, number in (("replace", 1), ("insert", 1), ("delete", 1)):
        assert html.count(f'class="pair {kind}"') == number
    assert "1 substitutions (S), 1 deletions (D)\nand 1 insertions (I); 2 of 3 utterances" in html
    assert "WER 30.00 %" in html
    assert "&lt;cat&gt;" in html
    assert "<cat>" not in html
    assert "speaker anna" in html
    page = Page(html)
    assert (page.outside, page.links) == ([], [])
    assert "prefers-color-scheme: dark" in html


def test_untrusted_text_is_escaped() -> None:
    hostile = "<script>alert('1')</script>\u202e\x1b[31m"
    rows = [(hostile, f"a {hostile}", f"b {hostile}")]
    html = page(hostile, rows, score(*zip(*[row[1:] for row in rows], strict=True)), {hostile: hostile})
    assert "<script" not in html
    assert "\u202e" not in html
    assert "\x1b" not in html
    assert r"<script>alert('1')</script>\u202e\x1b[31m" in Page(html).text


def test_the_page_has_at_most_the_stated_number_of_utterances() -> None:
    rows = [(str(i), "a b", "c d") for i in range(3 * NUM_WORST)]
    assert rendered(rows).count("<h3>") == NUM_WORST


def test_a_perfect_split_has_a_page_without_errors() -> None:
    html = rendered(ROWS[:1])
    assert "0 of 1 utterances have errors" in html
    assert "Worst utterances</h2>" not in html


@pytest.mark.parametrize("side", [0, 1])
def test_both_trn_files_have_the_same_order(side: int) -> None:
    names = [line.split("(")[-1] for line in trn(ROWS, {})[side].splitlines()]
    assert names == ["unknown-u-1)", "unknown-u-2)", "unknown-u-3)"]


def test_scripts_without_spaces_are_aligned_by_characters() -> None:
    rows = [("a", "今天天气很好", "今天气很坏"), ("b", "我们", "我们")]
    found = score([row[1] for row in rows], [row[2] for row in rows])
    html = page("title", rows, found, {})
    assert "in 8 characters 1 substitutions (S), 1 deletions (D)" in html
    assert align(*rows[0], "cer").errors.total() == 2
