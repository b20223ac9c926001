"""The options that all tasks with a corpus have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from supernet.audio.features import InputName
from tasks.audio.acoustics import EvalNoise, EvalReverb, Noise, Reverb
from tasks.audio.augmentation import SpecAugment
from tasks.files.cache import default_folder
from tasks.reading.vocabulary import Choice, check_choice


class CorpusOptions(BaseModel):
    """Options of every task."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    tokens: Choice = "characters"
    """What the recognizer writes: characters, words, pieces of words learned from the training texts (unigram
    or bpe), or those of a tokens.txt or SentencePiece .model.
    """
    vocab_size: int | None = Field(default=None, ge=2)
    """Number of unigram or bpe tokens, with the blank. None: 500, or as many as there are."""
    byte_fallback: bool = False
    """With unigram or bpe: unknown characters are written in bytes."""
    input: InputName = "log-mel"
    """What the recognizer reads; `samples` with `model.init`, and then nothing hides or warps frequencies."""
    batch_seconds: float = Field(default=28.0, gt=0)
    """Seconds of speech in a training batch of one rank."""
    spec_augment: SpecAugment = SpecAugment()
    """What is hidden while training."""
    frequency_warp: float = Field(default=0.1, ge=0, lt=0.5)
    """Largest relative stretch of the frequencies in training; 0 disables it."""
    speed_perturb: tuple[Annotated[float, Field(ge=0.5, le=2.0)], ...] = ()
    """Speeds drawn from in training, such as [0.9, 1.0, 1.1]; slows reading down."""
    reverb: Reverb | None = None
    """Echo of rooms in training; features are then computed as they are read."""
    noise: Noise | None = None
    """Noise in training, after the echo; likewise."""
    eval_reverb: EvalReverb | None = None
    """Echo in validation and test, the same each time: another condition."""
    eval_noise: EvalNoise | None = None
    """Noise in validation and test; likewise."""
    max_skipped: float = Field(default=0.05, ge=0, le=1)
    """Share of a split that may be unusable."""
    max_seconds: float = Field(default=120.0, gt=0)
    """Longer utterances, also those slowed down, are left out; `model.max_frames` must allow it."""
    store_hours: float = Field(default=20.0, ge=0)
    """Features of a corpus of so many hours (0.12 GB each) are stored; those of longer ones are computed
    whenever they are read.
    """
    num_workers: int = Field(default=0, ge=0, le=256)
    """Threads that make the next training batches, so many ahead; for audio that is decoded whenever it is
    read. 0: a batch is made when it is needed.
    """
    cache: Path | None = None
    """Where corpora and features are kept. None: $SUPERNET_CACHE, or supernet in $XDG_CACHE_HOME (~/.cache),
    the same from every folder.
    """

    @property
    def cache_folder(self) -> Path:
        """``cache``, or else the user's."""
        return default_folder() if self.cache is None else self.cache

    @field_validator("tokens")
    @classmethod
    def _check_tokens(cls, tokens: Choice) -> Choice:
        return check_choice(tokens)

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
