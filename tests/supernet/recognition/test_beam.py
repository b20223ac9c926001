"""Beam search: a beam of one is greedy decoding, and a language model resolves acoustic ambiguity."""

from __future__ import annotations

import itertools
import math
import re
import tempfile
from functools import cached_property
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from supernet.errors import ArgumentError, UserError
from supernet.recognition import beam
from supernet.recognition.beam import BeamConfig, BeamSearch
from supernet.recognition.decoding import GREEDY, spans, texts, words
from supernet.text.tokens import Tokens
from tasks.reading.vocabulary import learn

TOKENS = Tokens(("<blk>", " ", "a", "c", "r", "t", "|"))
WORDS = Tokens(("<blk>", "one", "two"), "words")
SAID = ["the cat sat", "a car sat on the mat", "cars and cats and a rat"]
PIECES = Tokens.from_model(learn("bpe", None, False, 5 * SAID))
ARPA = r"""\data\
ngram 1=6
ngram 2=3

\1-grams:
-1.0	<unk>
-99	<s>	-0.3
-1.0	</s>
-1.0	{0}	-0.3
-1.0	{1}	-0.3
-1.0	{2}	-0.3

\2-grams:
-0.1	<s> {1}
-2.0	<s> {0}
-0.1	{1} {0}

\end\
"""


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    """A language model in which sentences begin with "car", and "cat" follows "car"."""
    path = tmp_path / "lm.arpa"
    path.write_text(ARPA.format("cat", "car", "naïve"))
    return path


def heard(frames: str, doubts: dict[int, str] | None = None) -> Tensor:
    """Log-probabilities (1, S, V) of the token of each frame, where ``_`` is the blank. In frames of
    ``doubts``, another token is almost as likely.
    """
    probs = torch.full((1, len(frames), len(TOKENS)), 0.01)
    for i, symbol in enumerate(frames):
        probs[0, i, _id(symbol)] = 0.9
    for i, other in (doubts or {}).items():
        probs[0, i, _id(frames[i])], probs[0, i, _id(other)] = 0.5, 0.45
    return probs.log().log_softmax(-1)


def _id(symbol: str) -> int:
    return 0 if symbol == "_" else TOKENS.symbols.index(symbol)


def said(decoder: BeamSearch, log_probs_BSV: Tensor, tokens: Tokens = TOKENS) -> str:
    (text,) = texts(decoder, log_probs_BSV, [log_probs_BSV.size(1)], tokens)
    return text.strip()


class TestInstalled:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("flashlight.lib.text.decoder.kenlm", reason="beam search needs the extra 'lm'")

    @given(st.integers(0, 10**6), st.integers(1, 30))
    def test_a_beam_of_one_is_greedy_decoding(self, seed: int, num_frames: int) -> None:
        noise = torch.randn(2, num_frames, len(TOKENS), generator=torch.Generator().manual_seed(seed))
        lengths = [num_frames, max(1, num_frames // 2)]
        log_probs = (3 * noise).log_softmax(-1)
        expected = [spans(path) for path in GREEDY.paths(log_probs, lengths)]
        assert [
            spans(path) for path in BeamSearch(BeamConfig(1), TOKENS).paths(log_probs, lengths)
        ] == expected

    def test_probabilities_of_alignments_are_added_up(self) -> None:
        """The best path is blank, blank (0.16), but "a" has three paths (0.14 + 0.14 + 0.1225)."""
        probs = torch.tensor([[[0.4, 0.35, 0.25]] * 2])
        tokens = Tokens(("<blk>", "a", "b"))
        assert texts(GREEDY, probs.log(), [2], tokens) == [""]
        assert texts(BeamSearch(BeamConfig(10), tokens), probs.log(), [2], tokens) == ["a"]

    @given(st.integers(0, 10**6), st.integers(1, 6))
    def test_a_wide_beam_finds_the_most_likely_sequence(self, seed: int, num_frames: int) -> None:
        log_probs = noise(seed, num_frames)
        found = all_sequences(log_probs)
        (path,) = BeamSearch(BeamConfig(10_000), FEW).paths(log_probs, [num_frames])
        said = tuple(span.token for span in spans(path))
        assert found[said] == pytest.approx(max(found.values()))

    @given(st.integers(0, 10**6), st.integers(1, 6))
    def test_with_a_lexicon_it_finds_the_most_likely_text(self, seed: int, num_frames: int) -> None:
        log_probs, likelihood = noise(seed, num_frames), dict[str, float]()
        for sequence, probability in all_sequences(log_probs).items():
            text = " ".join(FEW.decode(list(sequence)).split())
            if set(text.split()) <= {"a", "ab", "b", "aa"}:
                likelihood[text] = likelihood.get(text, 0.0) + probability
        (text,) = texts(FEW_WORDS.search, log_probs, [num_frames], FEW)
        assert likelihood[" ".join(text.split())] == pytest.approx(max(likelihood.values()))

    def test_a_wide_beam_keeps_a_clear_best_path(self) -> None:
        assert said(BeamSearch(BeamConfig(50), TOKENS), heard("_cc_aa_t_ r")) == "cat r"

    def test_a_language_model_resolves_ambiguity(self, arpa: Path) -> None:
        doubtful = heard("c_a_t__", {4: "r"})
        assert texts(GREEDY, doubtful, [7], TOKENS) == ["cat"]
        assert said(BeamSearch(BeamConfig(lm=arpa), TOKENS), doubtful) == "car"
        assert said(BeamSearch(BeamConfig(lm=arpa, lm_weight=0.0), TOKENS), doubtful) == "cat"
        following = heard("car c_a_r", {8: "t"})  # "cat" follows "car"
        assert said(BeamSearch(BeamConfig(lm=arpa), TOKENS), following) == "car cat"

    def test_only_words_of_the_vocabulary_are_recognized(self, arpa: Path, tmp_path: Path) -> None:
        lexicon = tmp_path / "words.txt"
        lexicon.write_text("tar\nat a t |\n\n")  # a lexicon may contain spellings
        assert said(BeamSearch(BeamConfig(lm=arpa), TOKENS), heard("tar", {0: "c"})) == "car"
        assert said(BeamSearch(BeamConfig(lexicon=lexicon), TOKENS), heard("car at", {0: "t"})) == "tar at"

    def test_a_word_score_favors_more_words(self, tmp_path: Path) -> None:
        lexicon = tmp_path / "words.txt"
        lexicon.write_text("cat\nc\nat\n")
        doubtful = heard("c_at", {1: " "})
        assert said(BeamSearch(BeamConfig(lexicon=lexicon), TOKENS), doubtful) == "cat"
        assert said(BeamSearch(BeamConfig(lexicon=lexicon, word_score=3.0), TOKENS), doubtful) == "c at"

    def test_words_have_the_times_of_greedy_decoding(self, arpa: Path) -> None:
        log_probs = heard("__cc_a_r__ _c_aa_tt_ car_")
        (best,), (searched,) = (
            decoder.paths(log_probs, [log_probs.size(1)])
            for decoder in (GREEDY, BeamSearch(BeamConfig(lm=arpa), TOKENS))
        )
        assert len(searched) == len(best)
        pairs = zip(words(spans(best), TOKENS), words(spans(searched), TOKENS), strict=True)
        for greedy_word, word in pairs:
            assert abs(greedy_word[0].start - word[0].start) <= 1
            assert abs(greedy_word[-1].stop - word[-1].stop) <= 1

    def test_the_name_contains_beam_language_model_and_lexicon(self, arpa: Path, tmp_path: Path) -> None:
        (tmp_path / "words.txt").write_text("cat\n")
        assert BeamSearch(BeamConfig(3), TOKENS).name == "beam3"
        assert (
            BeamSearch(BeamConfig(3, lm=arpa, lexicon=tmp_path / "words.txt"), TOKENS).name
            == "beam3-lm-words"
        )

    def test_silence_has_an_empty_text(self, arpa: Path) -> None:
        assert said(BeamSearch(BeamConfig(lm=arpa), TOKENS), heard("____")) == ""

    def test_words_that_cannot_be_spelled_are_left_out(self, arpa: Path) -> None:
        assert BeamSearch(BeamConfig(lm=arpa), TOKENS).left_out == ["naïve"]

    def test_tokens_that_are_words_are_scored_by_the_language_model(self, tmp_path: Path) -> None:
        path = tmp_path / "numbers.arpa"
        path.write_text(ARPA.format("one", "two", "three"))
        probs = torch.tensor([[[0.02, 0.5, 0.48], [0.96, 0.02, 0.02], [0.02, 0.48, 0.5], [0.02, 0.48, 0.5]]])
        assert texts(GREEDY, probs.log(), [4], WORDS) == ["one two"]
        assert said(BeamSearch(BeamConfig(lm=path), WORDS), probs.log(), WORDS) == "two one"

    def test_loading_prints_nothing(self, arpa: Path, capfd: pytest.CaptureFixture[str]) -> None:
        BeamSearch(BeamConfig(lm=arpa), TOKENS)
        assert capfd.readouterr() == ("", "")

    def test_damaged_language_models_are_errors(self, arpa: Path) -> None:
        arpa.write_text(arpa.read_text().replace("-2.0\t<s>", "much\t<s>"))
        with pytest.raises(
            ArgumentError, match=r"`lm` must be an ARPA file or a KenLM binary, but '.*lm\.arpa'"
        ):
            BeamSearch(BeamConfig(lm=arpa), TOKENS)
        lexicon = arpa.with_name("words.txt")
        lexicon.write_text("cat\n")
        arpa.write_bytes(b"\0" * 100)
        with pytest.raises(ArgumentError, match="`lm` must be an ARPA file or a KenLM binary"):
            BeamSearch(BeamConfig(lm=arpa, lexicon=lexicon), TOKENS)

    def test_a_vocabulary_without_spellable_words_is_an_error(self, arpa: Path) -> None:
        arpa.write_text(ARPA.format("CAT", "CAR", "RAT"))
        with pytest.raises(UserError, match=r"none of its 3 can, e\.g\. 'CAT'"):
            BeamSearch(BeamConfig(lm=arpa), TOKENS)

    @given(st.data())
    def test_words_of_pieces_are_found_at_any_duration(self, data: st.DataObject) -> None:
        """Each token lasts one to three frames, with or without blanks between tokens."""
        text = data.draw(st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=4).map(" ".join))
        path: list[int] = []
        for token in PIECES.encode(text):
            pause = int(path[-1:] == [token])
            path += data.draw(st.integers(pause, 2)) * [0] + data.draw(st.integers(1, 3)) * [token]
        log_probs = likely(path)
        assert texts(GREEDY, log_probs, [len(path)], PIECES) == [text]
        assert said(LEXICON.search, log_probs, PIECES) == text

    def test_a_language_model_resolves_ambiguity_between_pieces(self, arpa: Path) -> None:
        cat, car = (PIECES.encode(word) for word in ("cat", "car"))
        doubtful = likely([*cat, 0, 0])
        for frame, (one, other) in enumerate(zip(cat, car, strict=True)):
            if one != other:
                doubtful[0, frame, [one, other]] = torch.tensor([0.5, 0.45]).log()
        assert texts(GREEDY, doubtful, [doubtful.size(1)], PIECES) == ["cat"]
        search = BeamSearch(BeamConfig(lm=arpa), PIECES)
        assert said(search, doubtful, PIECES) == "car"
        assert search.left_out == ["naïve"]

    def test_pieces_have_the_times_of_greedy_decoding(self) -> None:
        a, b = PIECES.encode("cat"), PIECES.encode("the")
        path = [0, *(frame for token in (*a, *b) for frame in (token, token, 0)), 0]
        (found,) = LEXICON.search.paths(likely(path), [len(path)])
        assert [span.token for span in spans(found)] == [*a, *b]
        assert [span.start for span in spans(found)] == [span.start for span in spans(path)]


class _Lexicon:
    """A search with a lexicon, created when it is first used because it needs the extra."""

    def __init__(self, words: list[str], tokens: Tokens, beam: int) -> None:
        self._words, self._tokens, self._beam = words, tokens, beam

    @cached_property
    def search(self) -> BeamSearch:
        with tempfile.TemporaryDirectory() as folder:
            lexicon = Path(folder) / "words.txt"
            lexicon.write_text("\n".join(self._words))
            return BeamSearch(BeamConfig(self._beam, lexicon=lexicon), self._tokens)


VOCABULARY = sorted({word for text in SAID for word in text.split()})
LEXICON = _Lexicon(VOCABULARY, PIECES, 50)
FEW = Tokens(("<blk>", " ", "a", "b"))
FEW_WORDS = _Lexicon(["a", "ab", "b", "aa"], FEW, 10_000)


def noise(seed: int, num_frames: int) -> Tensor:
    """Random log-probabilities (1, S, V) of a few tokens."""
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(1, num_frames, len(FEW), generator=generator)).log_softmax(-1)


def all_sequences(log_probs_BSV: Tensor) -> dict[tuple[int, ...], float]:
    """The probability of every sequence of tokens, by enumeration of all alignments."""
    found: dict[tuple[int, ...], float] = {}
    probs = log_probs_BSV[0].exp().tolist()
    for path in itertools.product(range(len(probs[0])), repeat=len(probs)):
        sequence = tuple(span.token for span in spans(path))
        probability = math.prod(frame[token] for frame, token in zip(probs, path, strict=True))
        found[sequence] = found.get(sequence, 0.0) + probability
    return found


def likely(path: list[int]) -> Tensor:
    """Log-probabilities (1, S, V) in which ``path`` is clearly the most likely."""
    return torch.nn.functional.one_hot(torch.tensor([path]), len(PIECES)).mul(0.9).add(0.005).log()


@pytest.mark.parametrize(
    ("wrong", "tokens", "words"),
    [
        ({"size": 0}, TOKENS, "`beam` must be at least 1, but is 0 instead"),
        (
            {"lm": Path("gone.arpa")},
            TOKENS,
            "`lm` must be a readable file, but there is no such file: 'gone.arpa'",
        ),
        ({"lexicon": Path("gone")}, TOKENS, "`lexicon` must be a readable file"),
        ({"lm": Path(__file__)}, TOKENS, "must be an ARPA file if no `lexicon` gives the vocabulary"),
        ({"lm": Path(__file__)}, PIECES, "must be an ARPA file if no `lexicon` gives the vocabulary"),
        ({"lexicon": Path(__file__)}, WORDS, "must not be given for a model whose tokens are words"),
        (
            {"lm": Path(__file__)},
            Tokens(("<blk>", "a")),
            "must be used with a model whose tokens include the",
        ),
    ],
)
def test_invalid_options_are_errors(wrong: dict[str, object], tokens: Tokens, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        BeamSearch(BeamConfig(**wrong), tokens)  # type: ignore[arg-type]


def test_a_missing_extra_is_an_error_that_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "flashlight.lib.text.decoder.kenlm", None)
    expected = f"Beam search must have the extra 'lm', but it is not installed: {beam.INSTALL}"
    with pytest.raises(UserError, match=re.escape(expected)):
        BeamSearch(BeamConfig(2), TOKENS)
