"""The page computes what the recognizer for devices computes: features, texts and confidences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supernet.runtime.log_mel import log_mel
from supernet.runtime.symbols import Symbols
from supernet.scoring.confidence import MEASURES, Calibration, goes_on, measured
from tests.supernet.demo.node import javascript
from tests.supernet.runtime.test_symbols import KINDS
from tests.supernet.talkative import recordings

pytest.importorskip("onnxruntime", reason="needs the export extra")


def test_features_are_those_of_python() -> None:
    noise = [0.1 * np.random.default_rng(n).normal(size=n).astype(np.float32) for n in (400, 401, 480, 9_999)]
    found = [samples.numpy() for samples in recordings()] + noise
    rows = javascript("log_mel.mjs", "value.map((x) => [...m.logMel(Float32Array.from(x))])", to_lists(found))
    for samples, row in zip(found, rows, strict=True):
        np.testing.assert_allclose(np.reshape(row, (-1, 80)), log_mel(samples), atol=1e-4)


def test_short_recordings_are_padded_with_silence() -> None:
    short = np.linspace(-0.5, 0.5, 100, dtype=np.float32)
    ((*row,),) = javascript(
        "log_mel.mjs", "value.map((x) => [...m.logMel(Float32Array.from(x))])", [short.tolist()]
    )
    np.testing.assert_allclose(np.reshape(row, (-1, 80)), log_mel(np.pad(short, (0, 300))), atol=1e-4)


def to_lists(rows: list[np.ndarray]) -> list[list[float]]:
    return [row.tolist() for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_those_of_python(kind: str) -> None:
    tokens, rng = KINDS[kind], np.random.default_rng(0)
    # Words end anywhere, bytes make characters or not, and blanks separate repetitions.
    paths = [rng.integers(len(tokens.symbols), size=n).tolist() for n in range(60)]
    paths += [np.repeat(path, 2).tolist() for path in paths]
    if kind == "bytes":
        paths += [[frame for i in tokens.encode("ab ü€ 猫a") for frame in (i, 0)]]
    value = [paths, tokens.symbols, tokens.kind]
    found = javascript(
        "symbols.mjs", "value[0].map((path) => m.wordsOf(path, value[1], value[2]).join(' '))", value
    )
    symbols = Symbols(tokens.symbols, tokens.kind)
    assert found == [" ".join(filter(None, symbols.text(path).split(" "))) for path in paths]


def test_joiners_and_unseen_characters_are_treated_alike() -> None:
    texts = [
        "a\u200db",
        "\u0645\u06cc\u200c\u0645",
        "e\u0301\u00ad",
        "a\u200c",
        "\U0001f469\u200d\U0001f4bb",
        "\u0915\u094d\u200d\u0937",
    ]
    symbols = ("<blk>", *texts)
    paths = [[i] for i in range(1, len(symbols))]
    found = javascript(
        "symbols.mjs", "value[0].map((p) => m.wordsOf(p, value[1], 'words').join(' '))", [paths, symbols]
    )
    assert found == [Symbols(symbols, "words").text(path) for path in paths]


@pytest.mark.parametrize("measure", MEASURES)
def test_confidences_and_best_paths_are_those_of_python(measure: str) -> None:
    rng = np.random.default_rng(1)
    rows = [rng.normal(size=(n, 5)) * scale for n in (1, 2, 30) for scale in (0.1, 1.0, 30.0)]
    rows += [np.eye(5)[[0, 0]], np.zeros((0, 5))]  # blanks alone, and no frame
    logs = [row - np.log(np.exp(row).sum(axis=1, keepdims=True)) for row in rows]
    logs += [np.where(np.eye(5)[[1, 2]] > 0, 0.0, -np.inf)]
    value = [measure, [np.maximum(log, -1e30).ravel().tolist() for log in logs]]
    expression = (
        "value[1].map((x) => Float32Array.from(x))"
        ".map((x) => [m.confidenceOf(value[0], x, 5), m.bestPath(x, 5)])"
    )
    for log, (confidence, path) in zip(logs, javascript("confidence.mjs", expression, value), strict=True):
        assert confidence == pytest.approx(measured(measure, log.astype(np.float32)), abs=1e-6)
        assert path == (log.astype(np.float32).argmax(axis=1).tolist() if len(log) else [])


def test_probabilities_and_decisions_are_those_of_python() -> None:
    rows = [
        [slope, offset, x] for slope in (0.0, 3.0, 900.0) for offset in (-2.0, 1.0) for x in (0.0, 0.3, 1.0)
    ]
    expression = "value.map(([slope, offset, x]) => [m.probabilityOf({slope, offset}, x), m.goesOn(x, 0.3)])"
    for (slope, offset, x), (probability, goes) in zip(
        rows, javascript("confidence.mjs", expression, rows), strict=True
    ):
        assert probability == pytest.approx(Calibration(slope, offset).probability(x))
        assert goes == goes_on(x, 0.3)
    assert javascript("confidence.mjs", "[m.probabilityOf(undefined, 0.5), m.goesOn(NaN, 0)]", 0) == [
        None,
        True,
    ]


WORDS = st.lists(st.sampled_from("abc"), max_size=7)


@settings(max_examples=1)
@given(st.lists(st.tuples(WORDS, st.lists(WORDS, max_size=3)), min_size=60, max_size=60))
def test_words_that_are_not_marked_are_in_every_text_in_this_order(
    cases: list[tuple[list[str], list[list[str]]]],
) -> None:
    expression = "value.map(([w, o]) => { const c = m.changesOf(w, o); return [[...c.words], [...c.gaps]]; })"
    for (words, others), (changed, gaps) in zip(
        cases, javascript("changes.mjs", expression, cases), strict=True
    ):
        same = [word for i, word in enumerate(words) if i not in changed]
        for other in others:
            rest = iter(other)
            assert all(word in rest for word in same)
        assert bool(changed or gaps) == any(other != words for other in others)
        assert all(0 <= i < len(words) for i in changed)
        assert all(0 <= i <= len(words) for i in gaps)


@pytest.mark.parametrize(
    ("text", "other", "words", "gaps"),
    [
        ("one two three", "one two three", [], []),
        ("one two three", "one too three", [1], []),
        ("one three", "one two three", [], [1]),
        ("one two", "one two three", [], [2]),
        ("one two three", "two three", [0], []),
        ("", "one", [], [0]),
    ],
)
def test_changes_by_hand(text: str, other: str, words: list[int], gaps: list[int]) -> None:
    value = [text.split(), other.split()]
    expression = "(({words, gaps}) => [[...words], [...gaps]])(m.changesOf(value[0], [value[1]]))"
    assert javascript("changes.mjs", expression, value) == [words, gaps]
