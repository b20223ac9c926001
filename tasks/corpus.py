"""The base class of all tasks: everything that follows from a manifest folder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
from pydantic import BaseModel

from supernet.audio.features import INPUTS, Input
from supernet.audio.lengths import Lengths
from supernet.audio.specification import FRAMES_PER_SECOND
from supernet.system.devices import with_threads
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
from tasks.audio.acoustics import Acoustics
from tasks.files.cache import check_writable, digest, make_once
from tasks.options import CorpusOptions
from tasks.reading.collation import Collator
from tasks.reading.eval_batches import EvalBatches
from tasks.reading.prefetch import Prefetcher
from tasks.reading.train_reader import Augmentation, Batching, TrainReader
from tasks.reading.vocabulary import VERSION as LEARNED_VERSION
from tasks.reading.vocabulary import make_tokens
from tasks.store.features import FeatureLoader
from tasks.store.index import VERSION, Index, Texts, write_index, write_skipped
from tasks.store.manifest_folder import ManifestFolder
from tasks.store.usable import Usable, check_share, find_usable, needed_frames


class CorpusTask(Task):
    """A task whose corpus is a manifest folder. A subclass says where it is, and how it is made.

    All methods but ``prepare`` read the prepared corpus from the disk, so that any process may call them,
    whichever has prepared it. Which utterances are usable is decided once for each split and set of tokens.

    Args:
        options: The validated options of the task.
    """

    Options: ClassVar[type[BaseModel]] = CorpusOptions
    options: CorpusOptions

    def __init__(self, options: CorpusOptions) -> None:
        super().__init__(options)
        self._decided: dict[tuple[Split, Tokens], Usable] = {}

    @property
    @abstractmethod
    def path(self) -> Path:
        """Path of the manifest folder, which need not exist yet.

        Raises:
            TaskError: If the path depends on the corpus, and the corpus is missing.
        """

    @abstractmethod
    def make(self, report: ProgressCallback) -> None:
        """Make the manifest folder unless it exists. Called by ``prepare`` only.

        Args:
            report: Called with the progress of slow work.

        Raises:
            TaskError: If the corpus is missing or cannot be used.
        """

    @property
    def cache(self) -> Path:
        """The folder in which everything that is made is kept."""
        return self.options.cache_folder

    @cached_property
    def folder(self) -> ManifestFolder:
        """The manifests, with all that they hold on each utterance."""
        return ManifestFolder(self.path, self.cache)

    @property
    def is_prepared(self) -> bool:
        """Whether everything on the disk exists already."""
        return self.path.is_dir() and self.folder.is_prepared and self._index_path.is_dir()

    def prepare(self, report: ProgressCallback) -> None:
        self._make_all(report)
        # Without training texts, the symbols of the other splits would all be unknown.
        self._check(SPLITS if len(self._index.utterances["train"]) else SPLITS[:1], None)

    def prepare_for(self, splits: Sequence[str], tokens: Tokens, report: ProgressCallback) -> None:
        self._make_all(report)
        self._check(list(dict.fromkeys(map(self._split, splits))), tokens)

    def remarks(self, splits: Sequence[str], tokens: Tokens) -> list[str]:
        held_out = [split for split in dict.fromkeys(map(self._split, splits)) if split != "train"]
        return [remark for split in held_out if (remark := self._usable(split, tokens).remark())]

    def tokens(self) -> Tokens:
        return self._tokens

    def train_reader(self, tokens: Tokens, *, seed: int, rank: int, num_ranks: int) -> BatchReader:
        options = self.options
        reader = TrainReader(
            self._checked("train", tokens).utterances,
            self._collator("train", tokens),
            Batching(options.batch_seconds, seed, rank, num_ranks),
            Augmentation(
                options.spec_augment.scaled_to(self._input),
                self._acoustics,
                options.frequency_warp if self._input.is_log_mel else 0.0,
                options.speed_perturb or (1.0,),
            ),
        )
        return Prefetcher(reader, options.num_workers) if options.num_workers else reader

    def eval_batches(
        self, split: str, tokens: Tokens, *, rank: int = 0, num_ranks: int = 1
    ) -> Iterable[Batch]:
        whole = self._split(split)
        utterances = self._checked(whole, tokens).utterances
        if whole != split:
            utterances = utterances.where(np.array([one.part == split for one in utterances], bool))
        collate = self._collator(whole, tokens)
        return EvalBatches(utterances, collate, self._eval_acoustics, rank, num_ranks)

    def speakers(self, split: str) -> dict[str, str]:
        found = (
            (cut.id, supervision.speaker)
            for cut in self.folder.cuts[self._split(split)]
            for supervision in cut.supervisions
        )
        # Lhotse accepts any value as a speaker.
        return {id: str(speaker) for id, speaker in found if isinstance(speaker, str | int) and speaker != ""}

    def skipped(self) -> list[Skipped]:
        spellings = dict.fromkeys(tokens for _, tokens in self._decided) or (self._tokens,)
        unusable = (
            one for tokens in spellings for split in SPLITS for one in self._usable(split, tokens).skipped
        )
        by_utterance = {(one.split, one.id): one for one in unusable}
        return [*self.folder.left_out, *self._index.skipped, *by_utterance.values()]

    @property
    def max_seconds(self) -> float:
        return self.options.max_seconds

    def train_size(self) -> tuple[int, float] | None:
        # Computing other tokens than those on the disk would take too long.
        if not self.is_prepared or not (self._tokens_path is None or self._tokens_path.is_dir()):
            return None
        utterances = self._checked("train", self._tokens).utterances
        return len(utterances), int(utterances.num_frames.sum()) / FRAMES_PER_SECOND

    def train_lengths(self, tokens: Tokens) -> Lengths:
        return Lengths.of(self._checked("train", tokens).utterances.num_frames / FRAMES_PER_SECOND)

    def _make_all(self, report: ProgressCallback) -> None:
        """Make everything that is kept on the disk, unless it exists."""
        _ = self._acoustics, self._eval_acoustics  # reports folders that cannot be used at once
        if not self.is_prepared:
            check_writable(self.cache)
        with with_threads(1):  # an utterance is too little work to split between threads
            self.make(report)
            self.folder.prepare(report)
            index = partial(write_index, folder=self.folder, stored=self._is_stored, report=report)
            make_once(self._index_path, index, report)

    def _check(self, splits: Sequence[Split], tokens: Tokens | None) -> None:
        """Raise ``TaskError`` unless ``splits`` can be used with ``tokens``, by default the corpus's own."""
        refused = []
        for split in splits:
            try:
                self._checked(split, tokens or self._tokens)
            except TaskError as error:
                refused.append(str(error))
        if refused:
            listed = write_skipped(self._index_path, self.skipped())
            raise TaskError("\n".join(f"{problem} All of them: {listed}." for problem in refused))

    def _checked(self, split: Split, tokens: Tokens) -> Usable:
        """The usable utterances of ``split``. Raises ``TaskError`` if there are too few."""
        usable = self._usable(split, tokens)
        absent = [one for one in self.folder.left_out if one.split == split]
        undecodable = [one for one in self._index.skipped if one.split == split]
        check_share(
            [*absent, *undecodable, *usable.skipped],
            len(self.folder.cuts[split]) + len(absent),
            split,
            self.options.max_skipped,
            usable.hints,
        )
        return usable

    def _usable(self, split: Split, tokens: Tokens) -> Usable:
        if (split, tokens) not in self._decided:
            utterances = self._index.utterances[split]
            needed_U = needed_frames(utterances, tokens, self._index_path, split)
            limits = self.options.limits(split)
            self._decided[split, tokens] = find_usable(split, utterances, tokens, needed_U, limits)
        return self._decided[split, tokens]

    def _collator(self, split: Split, tokens: Tokens) -> Collator:
        return Collator(FeatureLoader(self._index, self.folder, split, self._input), tokens, self._input)

    @property
    def _is_stored(self) -> bool:
        """Whether features are kept on the disk."""
        return self._input.is_log_mel and self.folder.seconds <= self.options.store_hours * 3600

    @property
    def _index_path(self) -> Path:
        name = "features" if self._is_stored else "index"
        return self.cache / f"{name}-v{VERSION}-{self.folder.fingerprint}"

    @cached_property
    def _index(self) -> Index:
        if not self.is_prepared:
            raise NotPrepared(f"`{self.path}` must have been prepared, but is not. Call `prepare` first.")
        return Index(self._index_path, self.folder, self.options.case)

    @cached_property
    def _tokens(self) -> Tokens:
        options, texts = self.options, Texts(self._index.utterances["train"])
        choice, size, byte_fallback = options.tokens, options.vocab_size, options.byte_fallback
        make = partial(make_tokens, choice, size, byte_fallback, texts, self.cache)
        if (folder := self._tokens_path) is None:
            return make()
        make_once(folder, lambda made: make().save(made / "tokens.txt"))
        return Tokens.load(folder / "tokens.txt", choice if choice in ("characters", "words") else "pieces")

    @property
    def _tokens_path(self) -> Path | None:
        """The folder in which tokens are kept, so that texts are read once; None if the tokens are a file."""
        options = self.options
        if isinstance(options.tokens, Path):
            return None
        choice: list[object] = [LEARNED_VERSION, options.tokens, options.vocab_size, options.byte_fallback]
        choice += [] if options.case == "as-is" else [options.case]
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

    def _split(self, name: str) -> Split:
        """The split of that name, or the one that the part of that name belongs to."""
        return self.parts().get(name, cast(Split, name))
