"""What all tasks have in common: everything behind a manifest folder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
from pydantic import BaseModel
from torch import Tensor

from supernet.audio.features import FRAMES_PER_SECOND, INPUTS, LOG_MEL, Input
from supernet.audio.lengths import Lengths
from supernet.audio.recordings import AudioError
from supernet.task import (
    SPLITS,
    Batch,
    BatchReader,
    NotPrepared,
    ProgressCallback,
    Skipped,
    Split,
    Task,
    TaskError,
)
from supernet.text.tokens import Tokens
from tasks.audio.acoustics import Acoustics, Room
from tasks.audio.augmentation import SpecAugment
from tasks.audio.cuts import load_features, one_thread
from tasks.files.cache import check_writable, digest, make_once
from tasks.files.problems import short
from tasks.options import CorpusOptions
from tasks.reading.ahead import Ahead
from tasks.reading.reader import EvalBatches, TrainReader
from tasks.reading.vocabulary import VERSION as LEARNED_VERSION
from tasks.reading.vocabulary import make_tokens
from tasks.store.index import VERSION, Index, Row, Rows, Texts, write_index, write_skipped
from tasks.store.manifest_folder import ManifestFolder
from tasks.store.usable import Usable, check_share, needed_frames, of_split


class CorpusTask(Task):
    """A task whose corpus is a manifest folder. A subclass finds or makes it.

    Every method but ``prepare`` needs the prepared corpus on the disk, not the object that prepared it.
    """

    Options: ClassVar[type[BaseModel]] = CorpusOptions

    def __init__(self, options: CorpusOptions) -> None:
        super().__init__(options)

    @property
    def cache(self) -> Path:
        """Where everything that is made is kept."""
        return Path(self.options.cache_folder)

    @property
    @abstractmethod
    def path(self) -> Path:
        """The manifest folder, whether it exists yet or not."""

    @abstractmethod
    def make(self, report: ProgressCallback) -> None:
        """Make the manifest folder if it is not there. Called by ``prepare`` alone."""

    def prepare(self, report: ProgressCallback) -> None:
        self._open(report)
        # Without training texts, no token of another split would be known.
        self._check(SPLITS if len(self._index.rows["train"]) else SPLITS[:1], None)

    def prepare_for(self, splits: Sequence[str], tokens: Tokens, report: ProgressCallback) -> None:
        self._open(report)
        self._check(list(dict.fromkeys(map(self._whole, splits))), tokens)

    def remarks(self, splits: Sequence[str], tokens: Tokens) -> list[str]:
        return [
            remark
            for split in dict.fromkeys(map(self._whole, splits))
            if split != "train" and (remark := self._usable(split, tokens).remark())
        ]

    def _open(self, report: ProgressCallback) -> None:
        """Find or make everything that is kept on the disk."""
        _ = self._acoustics, self._eval_acoustics  # folders that cannot be used are told now
        if not self.is_prepared:
            check_writable(self.cache)
        with one_thread():
            self.make(report)
            self.folder.prepare(report)
            index = partial(write_index, folder=self.folder, stored=self._is_stored, report=report)
            make_once(self._index_path, index, report)

    def _check(self, splits: Sequence[Split], tokens: Tokens | None) -> None:
        """Raise ``TaskError`` where ``splits`` cannot be used with ``tokens``, or the corpus's own."""
        refused = []
        for split in splits:
            try:
                self._rows(split, tokens or self._tokens)
            except TaskError as error:
                refused.append(str(error))
        if refused:
            listed = write_skipped(self._index_path, self.skipped())
            raise TaskError("\n".join(f"{problem} All of them: {listed}." for problem in refused))

    def tokens(self) -> Tokens:
        return self._tokens

    def train_reader(self, tokens: Tokens, *, seed: int, rank: int, num_ranks: int) -> BatchReader:
        reader = TrainReader(
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
        return Ahead(reader, self.options.num_workers) if self.options.num_workers else reader

    def eval_batches(
        self, split: str, tokens: Tokens, *, rank: int = 0, num_ranks: int = 1
    ) -> Iterable[Batch]:
        whole = self._whole(split)
        rows = self._rows(whole, tokens)
        if whole != split:
            rows = rows.where(np.array([row.part == split for row in rows], bool))
        load = partial(self._features, whole)
        return EvalBatches(
            rows,
            load,
            tokens,
            acoustics=self._eval_acoustics,
            rank=rank,
            num_ranks=num_ranks,
            input=self._input,
        )

    def speakers(self, split: str) -> dict[str, str]:
        found = (
            (cut.id, supervision.speaker)
            for cut in self.folder.cuts[self._whole(split)]
            for supervision in cut.supervisions
        )
        # Lhotse takes anything for a speaker.
        return {id: str(speaker) for id, speaker in found if isinstance(speaker, str | int) and speaker != ""}

    def skipped(self) -> list[Skipped]:
        unfit = (one for split in SPLITS for one in self._usable(split, self._tokens).skipped())
        return [*self.folder.left_out, *self._index.skipped, *unfit]

    @property
    def max_seconds(self) -> float:
        return float(self.options.max_seconds)

    def train_size(self) -> tuple[int, float] | None:
        # Another choice of tokens would be made now.
        if not self.is_prepared or not (self._tokens_path is None or self._tokens_path.is_dir()):
            return None
        rows = self._rows("train", self._tokens)
        return len(rows), int(rows.num_frames.sum()) / FRAMES_PER_SECOND

    def train_lengths(self, tokens: Tokens) -> Lengths:
        return Lengths.of(self._rows("train", tokens).num_frames / FRAMES_PER_SECOND)

    @cached_property
    def folder(self) -> ManifestFolder:
        """The corpus itself, with whatever its manifests tell about each utterance."""
        return ManifestFolder(self.path, self.cache)

    @property
    def is_prepared(self) -> bool:
        return self.path.is_dir() and self.folder.is_prepared and self._index_path.is_dir()

    @property
    def _is_stored(self) -> bool:
        """Whether features are kept on the disk."""
        return self._input is LOG_MEL and bool(self.folder.seconds <= self.options.store_hours * 3600)

    @property
    def _index_path(self) -> Path:
        name = "features" if self._is_stored else "index"
        return self.cache / f"{name}-v{VERSION}-{self.folder.fingerprint}"

    @cached_property
    def _index(self) -> Index:
        if not self.is_prepared:
            raise NotPrepared(f"`{self.path}` must have been prepared, but is not. Call `prepare` first.")
        return Index(self._index_path, self.folder)

    @cached_property
    def _tokens(self) -> Tokens:
        options, texts, folder = self.options, Texts(self._index.rows["train"]), self._tokens_path
        choice, size, byte_fallback = options.tokens, options.vocab_size, options.byte_fallback
        make = partial(make_tokens, choice, size, byte_fallback, texts, self.cache)
        if folder is None:
            return make()
        make_once(folder, lambda made: make().save(made / "tokens.txt"))
        return Tokens.load(folder / "tokens.txt", choice if choice in ("characters", "words") else "pieces")

    @property
    def _tokens_path(self) -> Path | None:
        """Where tokens are kept, so that texts are read once; none for those that are a file already."""
        options = self.options
        if isinstance(options.tokens, Path):
            return None
        choice = [LEARNED_VERSION, options.tokens, options.vocab_size, options.byte_fallback]
        return self._index_path / f"tokens-{digest(choice)}"

    @property
    def _input(self) -> Input:
        return INPUTS[self.options.input]

    @cached_property
    def _acoustics(self) -> Acoustics:
        return Acoustics(self.options.reverb, self.options.noise)

    @cached_property
    def _eval_acoustics(self) -> Acoustics:
        return Acoustics(self.options.eval_reverb, self.options.eval_noise, "eval_")

    def _whole(self, name: str) -> Split:
        """The split that a part belongs to, or the split of that name."""
        return self.parts().get(name, cast(Split, name))

    def _features(self, split: Split, row: Row, speed: float = 1.0, room: Room | None = None) -> Tensor:
        """Raises ``TaskError`` where the audio is no longer what it was when it was prepared."""
        try:
            if self._input is LOG_MEL:
                return self._index.features(split, row, speed, room)
            return load_features(self.folder.cuts[split][row.position], speed, room, self._input)
        except AudioError as error:
            raise TaskError(
                f"the audio of {short(row.id)!r} in the {split} split must be as it was when it was "
                f"prepared, but is not: {error}. Put it back, then the same command continues."
            ) from error

    def _usable(self, split: Split, tokens: Tokens) -> Usable:
        rows = self._index.rows[split]
        speeds = self.options.speed_perturb if split == "train" else ()
        needed_R = needed_frames(rows, tokens, self._index_path, split)
        return Usable(split, rows, tokens, needed_R, speeds or (1.0,), self.options.max_seconds, self._input)

    def _rows(self, split: Split, tokens: Tokens) -> Rows:
        """The usable rows. Raises ``TaskError`` where too few are."""
        usable = self._usable(split, tokens)
        never_there = of_split(self.folder.left_out, split)
        unusable = [*never_there, *of_split(self._index.skipped, split), *usable.skipped()]
        total = len(self.folder.cuts[split]) + len(never_there)
        check_share(unusable, total, split, self.options.max_skipped, usable.hints())
        return usable.chosen


def _in_units_of(input: Input, masks: SpecAugment) -> SpecAugment:
    """``masks``, which count frames of 10 ms and bands, for what has others: samples have no bands."""
    if input is LOG_MEL:
        return masks
    shift = input.rate // FRAMES_PER_SECOND
    frames = {name: getattr(masks, name) * shift for name in ("frames_per_time_mask", "max_time_frames")}
    return masks.model_copy(update={**frames, "freq_masks": 0})
