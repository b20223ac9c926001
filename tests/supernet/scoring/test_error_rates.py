"""Error rates equal hand-computed values and those of a naive implementation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernet.scoring.error_rates import (
    count_errors,
    count_words,
    judged_by,
    length_group,
    measure_of,
    score,
    score_groups,
)

words = st.lists(st.sampled_from(["a", "b", "ab", "ba"]), max_size=7)


def distance(a: list[str], b: list[str]) -> int:
    """The edit distance, by dynamic programming as in textbooks."""
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    table[:, 0], table[0] = range(len(a) + 1), range(len(b) + 1)
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (x != y))
    return int(table[-1, -1])


@given(st.lists(st.tuples(words.filter(len), words), min_size=1, max_size=5))
def test_error_rates_are_edit_distances_over_reference_lengths(
    pairs: list[tuple[list[str], list[str]]],
) -> None:
    references, hypotheses = ([" ".join(x) for x in side] for side in zip(*pairs, strict=True))
    result = score(references, hypotheses)
    errors = sum(distance(r, h) for r, h in pairs)
    assert result.words == sum(len(r) for r, _ in pairs)
    assert result.utterances == len(pairs)
    assert result.wer == pytest.approx(errors / result.words)
    assert count_errors(references, hypotheses)[:, 0].sum() == errors
    chars = sum(distance(list(r), list(h)) for r, h in zip(references, hypotheses, strict=True))
    assert result.cer == pytest.approx(chars / sum(map(len, references)))


@pytest.mark.parametrize(
    ("reference", "hypothesis", "wer", "cer"),
    [
        ("a b", "a b", 0, 0),
        ("a b", "", 1, 1),
        ("a b", "a", 1 / 2, 2 / 3),
        ("a", "a b b", 2, 4),
        ("ab ba", "ba ab", 1, 4 / 5),
        ("ab", "aa", 1, 1 / 2),
    ],
)
def test_error_rates_equal_hand_computed_values(
    reference: str, hypothesis: str, wer: float, cer: float
) -> None:
    result = score([reference], [hypothesis])
    assert [result.wer, result.cer] == pytest.approx([wer, cer])


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors", "characters"),
    [
        ("ab c", "ab c ", 0, 4),
        (" ab c", "ab c", 0, 4),
        ("ab  c", "ab c", 0, 4),
        ("ab c", "  ab   c\t", 0, 4),
        ("ab c", "abc", 1, 4),
        ("abc", "a b c", 2, 3),
        ("ab", " ", 2, 2),
    ],
)
def test_leading_trailing_and_repeated_spaces_do_not_count(
    reference: str, hypothesis: str, errors: int, characters: int
) -> None:
    result = score([reference], [hypothesis])
    assert result.cer == pytest.approx(errors / characters)


@given(st.lists(words.filter(len), min_size=1, max_size=4), st.data())
def test_exactly_one_space_between_words_counts(texts: list[list[str]], data: st.DataObject) -> None:
    """Whatever the spacing, the characters are those of the words and one space between every two words."""
    space = st.sampled_from([" ", "  ", "\t "])
    edge = st.sampled_from(["", " ", "   "])
    spaced = [
        data.draw(edge) + "".join(w + data.draw(space) for w in text[:-1]) + text[-1] + data.draw(edge)
        for text in texts
    ]
    plain = [" ".join(text) for text in texts]
    assert count_errors(plain, spaced).sum() == count_errors(spaced, plain).sum() == 0
    assert count_words(spaced).tolist() == [[len(t.split()), len(t)] for t in plain]


def test_rates_are_averaged_over_words_instead_of_utterances() -> None:
    assert score(["a", "b b b"], ["b", "b b b"]).wer == pytest.approx(1 / 4)


def test_references_without_words_are_an_error() -> None:
    with pytest.raises(ValueError, match="`references` must hold at least one word"):
        score(["", " "], ["a", ""])


def test_intervals_are_deterministic_and_contain_the_rate() -> None:
    texts = ["a b", "b", "a a a"], ["a", "b", "a b a"]
    assert score(*texts) == score(*texts)
    assert score(*texts).wer_ci95[0] <= score(*texts).wer <= score(*texts).wer_ci95[1]


def test_groups_are_scored_separately() -> None:
    references, hypotheses = ["a b", "b", "a a a", "b b"], ["a", "b", "a b a", "a b"]
    found = score_groups(["x", "y", "x", "y"], references, hypotheses)
    assert list(found) == ["x", "y"]
    assert found["x"] == score(references[::2], hypotheses[::2])
    assert found["y"] == score(references[1::2], hypotheses[1::2])


@pytest.mark.parametrize(
    ("seconds", "name"),
    [
        (0.0, "0 to 2 s"),
        (1.99, "0 to 2 s"),
        (2.0, "2 to 5 s"),
        (29.0, "20 to 30 s"),
        (30.0, "30 s and longer"),
    ],
)
def test_durations_are_grouped(seconds: float, name: str) -> None:
    assert length_group(seconds) == name


@pytest.mark.parametrize(
    ("texts", "measure"),
    [
        (["今天天气很好", "我们去公园"], "cer"),
        (["而 对 楼市 成交", "抑制 作用"], "cer"),  # words separated by a tool, not in the language itself
        (["きょうはいい天気です", "東京 Tower に行く"], "cer"),
        (["วันนี้อากาศดี", "ไปเที่ยว กัน"], "cer"),
        (["ພາສາລາວ"], "cer"),
        (["ភាសាខ្មែរ"], "cer"),
        (["မြန်မာဘာသာ"], "cer"),
        (["我用 Python 写程序", "打开 email 看看"], "cer"),
        (["thecatsatonthematandlooked", "adogranawayfromthehouse"], "cer"),
        (["오늘 날씨가 좋다", "서울에 갔다"], "wer"),
        (["one", "seven", "nine"], "wer"),
        (["the word 猫 means cat"], "wer"),
        (["Donaudampfschifffahrtsgesellschaft", "ein Schiff", "und noch eines"], "wer"),
        (["привет мир", "γειά σου", "नमस्ते दुनिया", "مرحبا بالعالم"], "wer"),
        ([""], "wer"),
        ([], "wer"),
    ],
)
def test_scripts_without_spaces_are_judged_by_characters(texts: list[str], measure: str) -> None:
    assert measure_of(texts) == measure


def test_a_score_contains_the_measure_of_its_rate() -> None:
    references = ["今天天气很好", "我们去公园"]
    result = score(references, ["今天天气很坏", "我们去公园"])
    assert result.measure == "cer"
    assert [result.wer, result.cer] == pytest.approx([1 / 2, 1 / 11])
    assert (result.rate, result.rate_ci95) == (result.cer, result.cer_ci95)
    assert judged_by({"sizes": {"6": {"macs": 1, "test": result.as_json()}}}) == "cer"
    spaced = score(["a b"], ["a c"])
    assert (spaced.measure, spaced.rate, spaced.rate_ci95) == ("wer", spaced.wer, spaced.wer_ci95)
    assert judged_by({"sizes": {"6": {"macs": 1, "test": {"wer": 0.1, "cer": 0.1}}}}) == "wer"


def test_all_groups_have_the_same_measure() -> None:
    """It follows from all texts together, as those of one speaker may be in another script."""
    references = ["今天天气很好", "我们去公园", "ok"]
    found = score_groups(["x", "x", "y"], references, references)
    assert {one.measure for one in found.values()} == {"cer"}
