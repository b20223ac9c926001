"""Custom corpora: Lhotse manifests, or a listing in another format to convert to manifests."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from pydantic import Field

from supernet.task import SPLITS, ProgressCallback, Split, TaskError
from tasks.converted import ConvertedTask
from tasks.files.problems import first_few
from tasks.formats.format import Format, Found
from tasks.formats.json_lines import JsonLines
from tasks.formats.kaldi import Kaldi
from tasks.formats.shar import Shar
from tasks.formats.tables import Tables
from tasks.formats.wav2vec import Wav2Vec
from tasks.formats.webdataset import WebDataset
from tasks.listing.entries import Entries, Source
from tasks.listing.replay import Replay
from tasks.options import CorpusOptions
from tasks.store.manifest_folder import manifest_path

FORMATS = (Kaldi(), Wav2Vec(), JsonLines(), Tables())
"""In order of precedence; Lhotse's manifests come first."""

SHARDS = (Shar(), WebDataset())
"""Tried only if none of the others is found: tars beside a listing are what its audio was downloaded in."""


class ManifestOptions(CorpusOptions):
    """Options of a custom corpus."""

    path: Path
    """A folder of Lhotse cuts in train.jsonl.gz, valid.jsonl.gz and test.jsonl.gz, or a file or folder in
    another format.
    """
    held_out: float = Field(default=0.05, gt=0, le=0.4)
    """Share of the training speakers (of the utterances, if fewer than 10 speakers are known) held out for
    each of valid and test if the corpus lacks them.
    """
    batch_seconds: float = Field(default=160.0, gt=0)
    """Seconds of speech per training batch and rank."""


class Manifest(ConvertedTask):
    """The task of a corpus that is given by its path. Nothing is ever written into the folder."""

    name = "manifest"
    Options = ManifestOptions
    options: ManifestOptions

    @property
    def path(self) -> Path:
        return self.options.path if self.is_lhotse else super().path

    def make(self, report: ProgressCallback) -> None:
        if not self.is_lhotse:
            super().make(report)

    @property
    def unread(self) -> Sequence[Path]:
        if not self.is_lhotse:
            return super().unread
        read = {manifest_path(self.path, split) for split in SPLITS}
        return sorted(file for file in self.path.glob("*.jsonl.gz") if file not in read)

    @cached_property
    def is_lhotse(self) -> bool:
        """Whether the folder holds manifests of at least one split already."""
        return any(manifest_path(self.options.path, split).is_file() for split in SPLITS)

    def find(self) -> Source:
        path = self.options.path
        if not path.exists():
            raise TaskError(
                "`path` must be a folder of manifests or a corpus in another format, but there is no such "
                f"file or folder: '{path}'."
            )
        corpus, unnamed = _find(FORMATS, path)
        if corpus is None:
            corpus, _ = _find(SHARDS, path)
        if corpus is not None:
            return _source(*corpus, self.options.held_out)
        if unnamed:
            raise TaskError(
                f"`path` must hold listings named after the splits {', '.join(SPLITS)}, or a single one, but "
                f"{str(path)!r} has {len(unnamed)} with other names instead: "
                f"{first_few([file.name for file in unnamed])}. Rename them, or give the path of one."
            )
        names = ", ".join(manifest_path(path, split).name for split in SPLITS)
        others = ", ".join(format.name for format in (*FORMATS, *SHARDS))
        raise TaskError(
            f"`path` must hold Lhotse's cuts as {names}, or a corpus in another format "
            f"({others}), but {str(path)!r} has none of these instead. "
            "Give the path of the listing's file or folder."
        )


def _find(formats: Sequence[Format], path: Path) -> tuple[tuple[Format, Found] | None, list[Path]]:
    """Find the corpus and its format; without one, also return the candidates that are not read."""
    candidates = [(format, format.find(path)) for format in formats]
    unread = [file for _, found in candidates for file in found.unread]
    corpora = [(format, found) for format, found in candidates if found.listings]
    if not corpora:
        return None, unread
    # Listings named after splits take precedence over one that merely has the right suffix; among those, the
    # format with training texts, then the one with most splits.
    corpora.sort(key=lambda corpus: _precedence({listing.split for listing in corpus[1].listings}))
    (format, chosen), *others = corpora
    read = {file for listing in chosen.listings for file in format.files(listing.path)}
    more = (listing.path for _, found in others for listing in found.listings)
    return (format, Found(chosen.listings, sorted({*unread, *more} - read))), []


def _precedence(splits: set[Split | None]) -> tuple[bool, bool, int]:
    return None in splits, "train" not in splits, -len(splits)


def _source(format: Format, found: Found, held_out: float) -> Source:
    def read() -> Entries:
        for path, split in found.listings:
            yield from format.read(path, split)

    files = tuple(file for listing in found.listings for file in format.files(listing.path))
    replay = Replay(read) if format.is_slow else read
    return Source(files, replay, settings=(format.name,), held_out=held_out, unread=tuple(found.unread))
