"""Options that all tasks with a corpus have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from supernet.audio.features import INPUTS, InputName
from supernet.config import Section
from supernet.system.cache_folder import default_folder
from supernet.task import Split
from supernet.text.spelling import Case
from tasks.audio.acoustics import EvalNoise, EvalReverb, Noise, Reverb
from tasks.audio.augmentation import SpecAugment
from tasks.reading.vocabulary import TokenKind, check_token_kind
from tasks.store.usable import Limits


class CorpusOptions(Section):
    """Options of every task."""

    tokens: TokenKind = "characters"
    """Output tokens: characters, words, subword units learned from the training texts (unigram or bpe), or
    the path of a tokens.txt or SentencePiece .model.
    """
    vocab_size: int | None = Field(default=None, ge=2)
    """Number of unigram or bpe tokens, including the blank. None: 500, or as many as the texts yield."""
    byte_fallback: bool = False
    """With unigram or bpe: spell out-of-vocabulary characters in bytes."""
    case: Case = "as-is"
    """Case of the texts: as in the corpus, or all letters in `lower` or `upper` case. `model.init` sets it if
    a fine-tuned checkpoint has letters of one case.
    """
    input: InputName = "log-mel"
    """Input features, set by the network: `log-mel`, `log-mel-80ms` with `model.subsampling` 8, or `samples`
    with `model.init`, where frequencies are neither masked nor warped.
    """
    batch_seconds: float = Field(default=28.0, gt=0)
    """Seconds of speech per training batch and rank."""
    spec_augment: SpecAugment = SpecAugment()
    """Time and frequency masks in training."""
    frequency_warp: float = Field(default=0.1, ge=0, lt=0.5)
    """Maximum relative stretch of the frequencies in training; 0 disables it."""
    speed_perturb: tuple[Annotated[float, Field(ge=0.5, le=2.0)], ...] = ()
    """Speed factors drawn from in training, such as [0.9, 1.0, 1.1]; slows reading down."""
    reverb: Reverb | None = None
    """Reverberation in training; features are then computed as they are read."""
    noise: Noise | None = None
    """Background noise in training, added after the echo; features are then computed as they are read."""
    eval_reverb: EvalReverb | None = None
    """Reverberation in validation and test, the same each time: a test condition."""
    eval_noise: EvalNoise | None = None
    """Background noise in validation and test, the same each time."""
    max_skipped: float = Field(default=0.05, ge=0, le=1)
    """Maximum share of a split that may be unusable."""
    max_seconds: float = Field(default=120.0, gt=0)
    """Maximum duration of an utterance, even when slowed down; longer ones are left out. `model.max_frames`
    must allow it.
    """
    store_hours: float = Field(default=20.0, ge=0)
    """Maximum hours of a corpus whose features are stored (0.12 GB per hour); those of larger ones are
    computed as they are read.
    """
    num_workers: int = Field(default=0, ge=0, le=256)
    """Threads that prefetch training batches, one batch each, for audio that is decoded as it is read. 0: no
    prefetching.
    """
    cache: Path | None = None
    """Folder for corpora and features. None: $SUPERNET_CACHE, or supernet in $XDG_CACHE_HOME (~/.cache),
    whatever the working folder.
    """

    @property
    def cache_folder(self) -> Path:
        """``cache``, or the user's own."""
        return default_folder() if self.cache is None else self.cache

    def limits(self, split: Split) -> Limits:
        """Bounds on the duration of an utterance of ``split``."""
        speeds = self.speed_perturb if split == "train" else ()
        return Limits(INPUTS[self.input], self.max_seconds, speeds or (1.0,))

    @field_validator("tokens")
    @classmethod
    def _check_tokens(cls, tokens: TokenKind) -> TokenKind:
        return check_token_kind(tokens)

    @model_validator(mode="after")
    def _check_pieces(self) -> CorpusOptions:
        given = {"vocab_size": self.vocab_size, "byte_fallback": self.byte_fallback}
        names = [f"`task.{name}`" for name, value in given.items() if value]
        if names and self.tokens not in ("unigram", "bpe"):
            raise ValueError(
                f"{' and '.join(names)} must go with `task.tokens` unigram or bpe, "
                f"but {'goes' if len(names) == 1 else 'go'} with '{self.tokens}' instead"
            )
        return self
