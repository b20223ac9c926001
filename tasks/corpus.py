"""What all tasks have in common: everything behind a manifest folder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, ClassVar, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor

from supernet.batch import SPLITS, Batch, BatchReader, Report, Skipped, Split, Task, TaskError
from supernet.features import FRAMES_PER_SECOND, INPUTS, LOG_MEL, Input, InputName
from supernet.tokens import Tokens, min_ctc_frames
from tasks.acoustics import Acoustics, Noise, Reverb, Room
from tasks.audio import load_features, one_thread
from tasks.augmentation import SpecAugment
from tasks.cache import make_once
from tasks.folder import PART, ManifestFolder
from tasks.index import VERSION, Index, Row, write_index, write_skipped
from tasks.reader import EvalBatches, TrainReader
from tasks.vocabulary import Choice, check_choice, make_tokens

_NAMED = 3
"""Examples in an error message."""


TOKENS = (
    "What the recogniser writes: characters, words, pieces of words learned from the training texts (unigram "
    "or bpe), or those of a tokens.txt or SentencePiece .model."
)


class CorpusOptions(BaseModel):
    """Options of every task."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: Choice = Field(default="characters", description=TOKENS)
    vocab_size: int | None = Field(
        default=None,
        ge=2,
        description="Number of unigram or bpe tokens, with the blank. None: 500, or as many as there are.",
    )
    byte_fallback: bool = Field(
        default=False, description="With unigram or bpe: unknown characters are written in bytes."
    )
    input: InputName = Field(
        default="log-mel",
        description="What the recogniser reads; `samples` with `model.init`, and then nothing hides or warps "
        "frequencies.",
    )
    batch_seconds: float = Field(
        default=28.0, gt=0, description="Seconds of speech in a training batch of one rank."
    )
    spec_augment: SpecAugment = Field(default=SpecAugment(), description="What is hidden while training.")
    frequency_warp: float = Field(
        default=0.1,
        ge=0,
        lt=0.5,
        description="Largest relative stretch of the frequencies in training; 0 disables it.",
    )
    speed_perturb: tuple[Annotated[float, Field(ge=0.5, le=2.0)], ...] = Field(
        default=(),
        description="Speeds drawn from in training, such as [0.9, 1.0, 1.1]; slows reading down.",
    )
    reverb: Reverb | None = Field(
        default=None, description="Echo of rooms in training; features are then computed as they are read."
    )
    noise: Noise | None = Field(default=None, description="Noise in training, after the echo; likewise.")
    max_skipped: float = Field(default=0.05, ge=0, le=1, description="Share of a split that may be unusable.")
    cache: Path = Field(default=Path("data"), description="Where corpora and features are kept.")

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


class CorpusTask(Task):
    """A task whose corpus is a manifest folder. A subclass finds or makes it.

    Every method but ``prepare`` needs the prepared corpus on the disk, not the object that prepared it.
    """

    Options: ClassVar[type[BaseModel]] = CorpusOptions

    def __init__(self, options: CorpusOptions) -> None:
        super().__init__(options)

    @property
    @abstractmethod
    def path(self) -> Path:
        """The manifest folder, whether it exists yet or not."""

    @abstractmethod
    def make(self, report: Report) -> None:
        """Make the manifest folder if it is not there. Called by ``prepare`` alone."""

    def prepare(self, report: Report) -> None:
        _ = self._acoustics  # folders that cannot be used are told now
        with one_thread():
            self.make(report)
            make_once(self._index_path, lambda path: write_index(path, self.folder, report))
        # Without training texts, no token of another split would be known.
        splits = SPLITS if self._index.rows["train"] else SPLITS[:1]
        if refused := [problem for split in splits if (problem := self._refusal(split))]:
            listed = write_skipped(self._index_path, [*self.skipped(), *self._unwritable()])
            raise TaskError("\n".join(f"{problem} All of them: {listed}." for problem in refused))

    def tokens(self) -> Tokens:
        return self._tokens

    def train_reader(self, tokens: Tokens, *, seed: int, rank: int, num_ranks: int) -> BatchReader:
        return TrainReader(
            self._rows("train", tokens),
            partial(self._features, "train"),
            tokens,
            batch_seconds=self.options.batch_seconds,
            augmentation=_in_units_of(self._input, self.options.spec_augment),
            frequency_warp=self.options.frequency_warp if self._input is LOG_MEL else 0.0,
            speeds=self.options.speed_perturb,
            acoustics=self._acoustics,
            seed=seed,
            rank=rank,
            num_ranks=num_ranks,
            input=self._input,
        )

    def eval_batches(
        self, split: str, tokens: Tokens, *, rank: int = 0, num_ranks: int = 1
    ) -> Iterable[Batch]:
        whole = self._whole(split)
        rows = self._rows(whole, tokens)
        if whole != split:
            rows = [row for row in rows if self._part(whole, row) == split]
        load = partial(self._features, whole)
        return EvalBatches(rows, load, tokens, rank=rank, num_ranks=num_ranks, input=self._input)

    def speakers(self, split: str) -> dict[str, str]:
        found = (
            (cut.id, supervision.speaker)
            for cut in self.folder.cuts[self._whole(split)]
            for supervision in cut.supervisions
        )
        return {id: speaker for id, speaker in found if speaker}

    def skipped(self) -> list[Skipped]:
        too_short = (skipped for split in SPLITS for skipped in self._too_short(split, self._tokens))
        return [*self.folder.left_out, *self._index.skipped, *too_short]

    @cached_property
    def folder(self) -> ManifestFolder:
        """The corpus itself, with whatever its manifests tell about each utterance."""
        return ManifestFolder(self.path)

    @property
    def _index_path(self) -> Path:
        return Path(self.options.cache) / f"features-v{VERSION}-{self.folder.fingerprint}"

    @cached_property
    def _index(self) -> Index:
        if not self._index_path.exists():
            raise TaskError(f"`{self.path}` must have been prepared, but is not. Call `prepare` first.")
        return Index(self._index_path, self.folder)

    @cached_property
    def _tokens(self) -> Tokens:
        options = self.options
        texts = [row.text for row in self._index.rows["train"]]
        return make_tokens(
            options.tokens, options.vocab_size, options.byte_fallback, texts, Path(options.cache)
        )

    @property
    def _input(self) -> Input:
        return INPUTS[self.options.input]

    @cached_property
    def _acoustics(self) -> Acoustics:
        return Acoustics(self.options.reverb, self.options.noise)

    def _whole(self, name: str) -> Split:
        """The split that a part belongs to, or the split of that name."""
        return self.parts().get(name, cast(Split, name))

    def _part(self, split: Split, row: Row) -> str | None:
        (supervision,) = self.folder.cuts[split][row.position].supervisions
        return (supervision.custom or {}).get(PART)

    def _features(self, split: Split, row: Row, speed: float = 1.0, room: Room | None = None) -> Tensor:
        if self._input is LOG_MEL:
            return self._index.features(split, row, speed, room)
        return load_features(self.folder.cuts[split][row.position], speed, room, self._input)

    def _rows(self, split: Split, tokens: Tokens) -> list[Row]:
        """The usable rows. Raises :class:`TaskError` where too few are, or ``tokens`` cannot write a text."""
        rows = self._index.rows[split]
        _check_texts(rows, split, tokens)
        too_short = list(self._too_short(split, tokens))
        never_there = of_split(self.folder.left_out, split)
        unusable = [*never_there, *of_split(self._index.skipped, split), *too_short]
        check_share(
            unusable, len(self.folder.cuts[split]) + len(never_there), split, self.options.max_skipped
        )
        left_out = {skipped.id for skipped in too_short}
        return [row for row in rows if row.id not in left_out]

    def _refusal(self, split: Split) -> str | None:
        """Why ``split`` cannot be used, if it cannot."""
        try:
            self._rows(split, self._tokens)
        except TaskError as error:
            return str(error)
        return None

    def _unwritable(self) -> Iterator[Skipped]:
        """Utterances of which the tokens cannot write the text."""
        for split in SPLITS:
            for row in self._index.rows[split]:
                if unknown := self._tokens.unknown(row.text):
                    yield Skipped(row.id, split, f"{unknown} are in no training text")

    def _too_short(self, split: Split, tokens: Tokens) -> Iterator[Skipped]:
        # At a higher speed an utterance is shorter still.
        speed = max(self.options.speed_perturb or (1.0,)) if split == "train" else 1.0
        for row in self._index.rows[split]:
            if tokens.unknown(row.text):
                continue  # said elsewhere
            have = _encoder_frames(int(row.num_frames / speed), self._input)
            need = min_ctc_frames(tokens.encode(row.text))
            if have < need:
                yield Skipped(row.id, split, f"too short for its text: {have} encoder frames for {need}")


def _encoder_frames(num_frames: int, input: Input) -> int:
    """Frames behind the model's subsampling, at least, of so many frames of 10 ms; these are rounded."""
    shift = input.rate // FRAMES_PER_SECOND
    have = num_frames * shift - shift // 2
    return 0 if have < input.shortest else input.num_stream_frames(have)


def _in_units_of(input: Input, masks: SpecAugment) -> SpecAugment:
    """``masks``, which count frames of 10 ms and bands, for what has others: samples have no bands."""
    if input is LOG_MEL:
        return masks
    shift = input.rate // FRAMES_PER_SECOND
    frames = {name: getattr(masks, name) * shift for name in ("frames_per_time_mask", "max_time_frames")}
    return masks.model_copy(update={**frames, "freq_masks": 0})


def _check_texts(rows: list[Row], split: Split, tokens: Tokens) -> None:
    for row in rows:
        if unknown := tokens.unknown(row.text):
            raise TaskError(
                f"`text` of {row.id!r} in the {split} split must consist of the training texts' tokens, "
                f"but has {unknown} instead. Correct it, leave it out, or add such texts for training."
            )


def of_split(skipped: Iterable[Skipped], split: Split) -> list[Skipped]:
    return [one for one in skipped if one.split == split]


def check_share(unusable: list[Skipped], total: int, split: Split, most: float) -> None:
    """Raise :class:`TaskError` where more than a share of ``most``, or everything, cannot be used."""
    # Nothing left is too little, whatever share was allowed.
    if len(unusable) <= most * total and len(unusable) < total:
        return
    named = "; ".join(f"{skipped.id}: {skipped.reason}" for skipped in unusable[:_NAMED])
    more = "; …" if len(unusable) > _NAMED else ""
    raise TaskError(
        f"`max_skipped` allows a share of {most:g}, but {len(unusable)} of {total} utterances "
        f"of the {split} split cannot be used ({named}{more}). Repair them, or allow more."
    )
