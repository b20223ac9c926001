"""Beam search with an n-gram language model: flashlight's decoder (arXiv 2201.12465) with KenLM.

Both come with the extra ``lm``. Without a language model, the score of a text is the sum over all its
alignments (prefix beam search, arXiv 1408.2873), and the most likely alignment is the path; with one, it is
the score of the most likely alignment.

Shapes: B utterances, S stream frames, V tokens.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supernet.errors import ArgumentError, UserError
from supernet.recognition.decoding import GREEDY, Decoder
from supernet.system.files import as_name, read_text, refusal
from supernet.text.tokens import BLANK_ID, Tokens

INSTALL = "pip install -e '.[lm]'"
_UNLIKELY = -1e4
_ARGUMENTS = ("beam", "lm", "lexicon", "lm_weight", "word_score")
_SPECIAL_WORDS = ("<s>", "</s>", "<unk>", "<UNK>")


@dataclass(frozen=True)
class BeamConfig:
    """Configuration of beam search.

    Without a language model or a lexicon, the output may be any sequence of tokens.
    """

    size: int = 50
    """Beam width: the number of hypotheses kept."""
    lm: Path | None = None
    """An n-gram model over words, ARPA or KenLM's binary."""
    lexicon: Path | None = None
    """A file with the vocabulary, one word per line. None: the words of the ARPA file."""
    lm_weight: float = 1.0
    """Weight of the language model's natural-log probabilities."""
    word_score: float = 0.0
    """Bonus for each word; positive values favor more words."""


class BeamSearch:
    """A beam-search decoder.

    With a vocabulary, from a lexicon or an ARPA file, the output contains only its words, spelled in the
    model's tokens.

    Args:
        beam: The configuration.
        tokens: The output tokens of the model.

    Raises:
        ArgumentError: ``beam`` cannot be used with this model.
        UserError: The extra ``lm`` is not installed.
    """

    def __init__(self, beam: BeamConfig, tokens: Tokens) -> None:
        self._beam, self._tokens = beam, tokens
        if problems := list(_problems(beam, tokens)):
            raise ArgumentError(_ARGUMENTS, *problems)
        make = _ctc_decoder()
        self.left_out: list[str] = []
        """Words of the vocabulary that the tokens cannot spell."""
        self._end = self._end_of_words() if self._has_words else None
        self._search = self._searches_words(make) if self._has_words else self._searches_tokens(make)
        self._lock = threading.Lock()  # the decoder keeps the state of a search

    @property
    def name(self) -> str:
        given = (as_name(path.stem) for path in (self._beam.lm, self._beam.lexicon) if path is not None)
        return "-".join([f"beam{self._beam.size}", *given])

    @property
    def _has_words(self) -> bool:
        given = self._beam.lm is not None or self._beam.lexicon is not None
        return given and self._tokens.kind != "words"

    @property
    def _sums(self) -> bool:
        """Whether to sum over alignments; an artificial end of words would count some twice."""
        return self._beam.lm is None and self._end != len(self._tokens)

    def _end_of_words(self) -> int:
        """The token after each word: the space, or an artificial one beyond the model's tokens.

        It lets the last token of a word last several frames, since the search leaves a word with the first
        frame of its last token.
        """
        tokens = self._tokens
        return len(tokens) if tokens.kind == "pieces" else tokens.symbols.index(" ")

    def paths(self, log_probs_BSV: Tensor, lengths: Sequence[int]) -> list[list[int]]:
        log_probs_BSV = log_probs_BSV.float().cpu()
        return [self._path(log_probs_BSV[i, :n]) for i, n in enumerate(lengths)]

    def _path(self, log_probs_SV: Tensor) -> list[int]:
        num_frames = len(log_probs_SV)
        if self._end == len(self._tokens):
            log_probs_SV = torch.cat([log_probs_SV, silence_or_repeat(log_probs_SV)[:, None]], dim=1)
        elif self._end is not None:
            # Words are spelled with a trailing space; this is the one of the last word.
            end_1V = log_probs_SV.new_full((1, log_probs_SV.size(1)), _UNLIKELY)
            end_1V[0, self._end] = 0.0
            log_probs_SV = torch.cat([log_probs_SV, end_1V])
        log_probs_SV = log_probs_SV.contiguous()
        with self._lock:
            found = self._search.decode(log_probs_SV.data_ptr(), *log_probs_SV.shape)
        # The first and the last entries are states of the search itself.
        path = found[0].tokens[1 : 1 + num_frames]
        return [token if token < len(self._tokens) else BLANK_ID for token in path]

    def _searches_words(self, make: Any) -> Any:
        words = _word_list(self._beam.lexicon) if self._beam.lexicon else _arpa_words(self._beam.lm)
        unknown = {word for word in words if self._tokens.unknown(word)}
        known = [word for word in words if word not in unknown]
        self.left_out = sorted(unknown)
        if not known:
            raise UserError(self._no_word(words))
        # Ids instead of symbols, not all of which the file format can represent.
        lines = [f"{word} {' '.join(map(str, ids))}" for word in known for ids in self._spellings(word)]
        is_apart = self._end == len(self._tokens)
        names = [str(i) for i in range(len(self._tokens) + is_apart)]
        between = str(BLANK_ID if is_apart else self._end)
        with _file(lines) as lexicon:
            return self._made(make, lexicon, names, sil_token=between, word_score=self._beam.word_score)

    def _spellings(self, word: str) -> list[list[int]]:
        if self._tokens.kind == "characters":
            return [self._tokens.encode(f"{word} ")]
        ids = self._tokens.encode(word)
        return [ids, [*ids, len(self._tokens)]]

    def _searches_tokens(self, make: Any) -> Any:
        names = list(self._tokens.symbols)
        with _file(names) as lm_dict:  # else the language model's words are not numbered like the tokens
            known = lm_dict if self._beam.lm is not None else None
            return self._made(make, None, names, sil_token=names[BLANK_ID], lm_dict=known)

    def _made(self, make: Any, lexicon: str | None, names: list[str], **more: Any) -> Any:
        beam = self._beam
        lm = None if beam.lm is None else str(beam.lm)
        options: dict[str, Any] = {"beam_size": beam.size, "lm_weight": beam.lm_weight, "log_add": self._sums}
        options["blank_token"] = names[BLANK_ID]
        try:
            with _quiet() if lm else contextlib.nullcontext():
                return make(lexicon, names, lm, **options, **more).decoder
        except (RuntimeError, ValueError) as e:
            reason = str(e).strip().splitlines()[-1]
            raise ArgumentError(
                ["lm"], f"`lm` must be an ARPA file or a KenLM binary, but '{lm}' is not: {reason}."
            ) from None

    def _no_word(self, words: Sequence[str]) -> str:
        where = self._beam.lexicon or self._beam.lm
        example = f", e.g. '{words[0]}'" if words else ""
        symbols = f" ('{''.join(self._tokens.symbols[1:])}')" if self._tokens.kind == "characters" else ""
        return (
            f"'{where}' must hold words that the tokens of this model can spell{symbols}, "
            f"but none of its {len(words)} can{example}."
        )


def decoder_for(beam: BeamConfig | None, tokens: Tokens) -> Decoder:
    """The decoder for ``beam``; greedy if None. Raises as ``BeamSearch``."""
    return GREEDY if beam is None else BeamSearch(beam, tokens)


def silence_or_repeat(log_probs_SV: Tensor) -> Tensor:
    """Log-probability that each frame (S,) ends or follows a token: blank, or the end of a repetition."""
    best_S = log_probs_SV.argmax(dim=1)
    is_last_S = torch.ones_like(best_S, dtype=torch.bool)
    is_last_S[:-1] = best_S[:-1] != best_S[1:]
    repeats_S = torch.zeros_like(is_last_S)
    repeats_S[1:] = best_S[1:] == best_S[:-1]
    return torch.where(repeats_S & is_last_S, log_probs_SV.max(dim=1).values, log_probs_SV[:, BLANK_ID])


def _problems(beam: BeamConfig, tokens: Tokens) -> Iterator[str]:
    if beam.size < 1:
        yield f"`beam` must be at least 1, but is {beam.size} instead."
    for name, path in (("lm", beam.lm), ("lexicon", beam.lexicon)):
        if path is not None and (why := refusal(path)):
            yield f"`{name}` must be a readable file, but {why}."
            return
        if path is not None and not path.is_file():
            yield f"`{name}` must be a regular file, but '{path}' is not."
            return
    if tokens.kind == "words" and (beam.lexicon is not None or beam.word_score):
        yield "`lexicon` and `word_score` must not be given for a model whose tokens are words, but are."
    if tokens.kind == "characters" and (beam.lm or beam.lexicon) and " " not in tokens.symbols:
        yield "`lm` must be used with a model whose tokens include the space, but this one has none."
    if beam.lm is not None and _begins_with_mark(beam.lm):
        yield (
            f"`lm` must begin with \\data\\, but '{beam.lm}' begins with a byte order mark, which KenLM "
            "cannot read. Save it without one."
        )
    elif beam.lm is not None and beam.lexicon is None and tokens.kind != "words" and not _is_arpa(beam.lm):
        yield (
            f"`lm` must be an ARPA file if no `lexicon` gives the vocabulary, but '{beam.lm}' is not. "
            "Give the words, one per line, as `lexicon`."
        )


def _ctc_decoder() -> Any:
    try:
        import flashlight.lib.text.decoder.kenlm  # noqa: F401  # else loading a language model fails much later
        from torchaudio.models.decoder import ctc_decoder
    except (ImportError, RuntimeError):
        raise UserError(f"Beam search must have the extra 'lm', but it is not installed: {INSTALL}") from None
    return ctc_decoder


def _begins_with_mark(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) == codecs.BOM_UTF8


def _is_arpa(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1000).lstrip().startswith(b"\\data\\")


def _arpa_words(path: Path | None) -> list[str]:
    """The words of an ARPA file: the second column of its unigram section."""
    assert path is not None
    words, inside = [], False
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("\\"):
                if inside:
                    break
                inside = line.strip() == "\\1-grams:"
            elif inside and len(columns := line.split()) > 1:
                words.append(columns[1])
    return [word for word in words if word not in _SPECIAL_WORDS]


def _word_list(path: Path) -> list[str]:
    """The first column of each line, so that a lexicon with pronunciations also works."""
    try:
        lines = read_text(path).splitlines()
    except UserError as e:
        raise ArgumentError(["lexicon"], f"`lexicon` must be a list of words, but is not: {e}") from None
    return list(dict.fromkeys(line.split()[0] for line in lines if line.strip()))


@contextlib.contextmanager
def _file(lines: Iterable[str]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines.txt"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        yield str(path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence KenLM, which draws a progress bar on the process's standard error."""
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)
