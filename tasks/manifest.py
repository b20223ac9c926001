"""Anybody's own corpus: Lhotse manifests as they are, or another form to make them from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from pydantic import Field

from supernet.task import SPLITS, ProgressCallback, Split, TaskError
from tasks.converted import ConvertedTask
from tasks.files.problems import some
from tasks.forms.form import Form, Listing
from tasks.forms.json_lines import JSON_LINES
from tasks.forms.kaldi import KALDI
from tasks.forms.shar import SHAR
from tasks.forms.tables import TABLES
from tasks.forms.wav2vec import WAV2VEC
from tasks.forms.webdataset import WEBDATASET
from tasks.listing.entries import Listed, Source
from tasks.listing.replay import Replay
from tasks.options import CorpusOptions
from tasks.store.manifest_folder import manifest_path

FORMS = (KALDI, WAV2VEC, JSON_LINES, TABLES)
"""In the order in which they are looked for; Lhotse's manifests come before all."""

SHARDS = (SHAR, WEBDATASET)
"""Looked for where none of the others is: tars beside a listing are what its audio came in."""


class ManifestOptions(CorpusOptions):
    """Options of one's own corpus."""

    path: Path
    """A folder with train.jsonl.gz, valid.jsonl.gz and test.jsonl.gz of Lhotse cuts; or a file or folder in
    one of the other forms.
    """
    held_out: float = Field(default=0.05, gt=0, le=0.4)
    """Share of the training speakers (utterances where fewer than 10 are known) taken for each of valid and
    test where the corpus has none.
    """
    batch_seconds: float = Field(default=160.0, gt=0)
    """Seconds of speech in a training batch of one rank."""


class Manifest(ConvertedTask):
    """The task of ``--task PATH``. Nothing is ever written into the folder."""

    name = "manifest"
    Options = ManifestOptions

    @property
    def path(self) -> Path:
        return Path(self.options.path) if self.is_lhotse else super().path

    def make(self, report: ProgressCallback) -> None:
        if not self.is_lhotse:
            super().make(report)

    @property
    def aside(self) -> Sequence[Path]:
        if not self.is_lhotse:
            return super().aside
        read = {manifest_path(self.path, split) for split in SPLITS}
        return sorted(file for file in self.path.glob("*.jsonl.gz") if file not in read)

    @cached_property
    def is_lhotse(self) -> bool:
        """Whether the folder holds manifests already, of one split at least."""
        return any(manifest_path(Path(self.options.path), split).is_file() for split in SPLITS)

    def find(self) -> Source:
        path = Path(self.options.path)
        if not path.exists():
            raise TaskError(
                "`path` must be a folder of manifests or a corpus in another form, but there is no such file "
                f"or folder: '{path}'."
            )
        found, unnamed = _find(FORMS, path)
        if found is None:
            found, _ = _find(SHARDS, path)
        if found is not None:
            return _source(*found, self.options.held_out)
        if unnamed:
            raise TaskError(
                f"`path` must hold listings named after the splits {', '.join(SPLITS)}, or one alone, but "
                f"{str(path)!r} has {len(unnamed)} of other names instead: "
                f"{some([file.name for file in unnamed])}. Rename them, or name one."
            )
        names = ", ".join(manifest_path(path, split).name for split in SPLITS)
        others = ", ".join(form.name for form in (*FORMS, *SHARDS))
        raise TaskError(
            f"`path` must hold Lhotse's cuts as {names}, or a corpus in another form "
            f"({others}), but {str(path)!r} has none of these instead. "
            "Name the file or the folder of the listing."
        )


_Corpus = tuple[Form, list[Listing], list[Path]]
"""A form, the listings in it, and those left aside."""


def _find(forms: Sequence[Form], path: Path) -> tuple[_Corpus | None, list[Path]]:
    """The corpus, if there is one, and what is left aside if not."""
    found = [(form, *form.find(path)) for form in forms]
    aside = [file for _, _, files in found for file in files]
    found = [corpus for corpus in found if corpus[1]]
    if not found:
        return None, aside
    # Files that are named after splits are rather meant than one that merely has the right suffix; and of
    # those the form that has most splits, training texts before all.
    found.sort(key=lambda corpus: _rank({split for _, split in corpus[1]}))
    form, listings, _ = found[0]
    read = {file for listing, _ in listings for file in form.files(listing)}
    others = (listing for _, more, _ in found[1:] for listing, _ in more)
    return (form, listings, sorted({*aside, *others} - read)), []


def _rank(splits: set[Split | None]) -> tuple[bool, bool, int]:
    return None in splits, "train" not in splits, -len(splits)


def _source(form: Form, listings: Sequence[Listing], aside: Sequence[Path], held_out: float) -> Source:
    def read() -> Listed:
        for listing, split in listings:
            yield from form.read(listing, split)

    files = tuple(file for listing, _ in listings for file in form.files(listing))
    again = Replay(read) if form.slow else read
    return Source(files, again, settings=(form.name,), held_out=held_out, aside=tuple(aside))
